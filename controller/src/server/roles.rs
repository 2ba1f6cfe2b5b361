//! What a controller is at present, and so who answers its calls: its own services, or the leader's.
//!
//! One port for both roles: a call comes in, and the role of that moment takes it. Health and reflection every
//! controller answers for itself.

use super::office::Seen;
use crate::grpc::{
    ForwardError, Forwarder, Peer, RoleError,
    certificate::certified,
    door::{DoorError, Rpc},
};
use axum::body::Body as HttpBody;
use futures::future::BoxFuture;
use http::{Request, Response};
use octavius_protocol::FORWARDED;
use octavius_service::actor::Vitals;
use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, service::Routes};
use tower::{Service, ServiceExt as _};

/// What a controller is.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "etcd"), expect(dead_code, reason = "without an etcd nobody stands by"))]
pub(super) enum Role {
    /// It does not know yet who leads.
    Starting,
    /// Another one leads, or nobody does.
    Standby {
        /// The way to the leader. When it is dropped, what is under way through it ends.
        leader: Option<Arc<Forwarder>>,
        /// Why it could not lead itself.
        trouble: Option<String>,
    },
    /// It was elected, and loads.
    Loading,
    /// It leads.
    Leading(Arc<Seen>),
}

/// What a standby learns of the way to the leader.
#[cfg(feature = "etcd")]
#[derive(Debug)]
pub(super) enum Leader {
    /// The same one as before.
    AsBefore,
    /// Nobody leads.
    Nobody,
    /// Another one leads, or the way to it was made anew.
    Another(Arc<Forwarder>),
}

/// The role, for all who look.
#[derive(Clone, Debug)]
pub(crate) struct Roles {
    role: Arc<watch::Sender<Role>>,
    ending: CancellationToken,
}

impl Roles {
    pub(super) fn new(ending: CancellationToken) -> Self {
        Self { role: Arc::new(watch::Sender::new(Role::Starting)), ending }
    }

    pub(super) fn set(&self, role: Role) {
        let leads = matches!(role, Role::Leading(_));
        metrics::gauge!("octavius_leader").set(f64::from(u8::from(leads)));
        let before = self.role.send_replace(role);
        if leads && !matches!(before, Role::Leading(_)) {
            metrics::counter!("octavius_terms_total").increment(1);
        }
    }

    /// Takes in what is known of the leader, unless it is this one.
    #[cfg(feature = "etcd")]
    pub(super) fn stand_by(&self, leads: Leader, trouble: Option<String>) {
        self.role.send_if_modified(|role| {
            let known = match role {
                Role::Standby { leader, .. } => leader.take(),
                Role::Starting => None,
                Role::Loading | Role::Leading(_) => return false,
            };
            let leader = match leads {
                Leader::AsBefore => known,
                Leader::Nobody => None,
                Leader::Another(way) => Some(way),
            };
            *role = Role::Standby { leader, trouble };
            true
        });
    }

    pub(super) fn now(&self) -> Role {
        self.role.borrow().clone()
    }

    /// The office that it holds.
    pub(crate) fn office(&self) -> Option<Arc<Seen>> {
        match &*self.role.borrow() {
            Role::Leading(office) => Some(office.clone()),
            Role::Starting | Role::Standby { .. } | Role::Loading => None,
        }
    }

    /// How the actors are; none while another one leads.
    pub(crate) fn actors(&self) -> Vec<Arc<Vitals>> {
        self.office().map_or_else(Vec::new, |office| office.vitals.clone())
    }

    /// Whether calls are answered here, by whomever; else why not.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if self.ending.is_cancelled() {
            return Err("the controller is ending".to_owned());
        }
        match self.now() {
            Role::Starting => Err("the controller is starting".to_owned()),
            Role::Loading => Err("the controller was elected, and loads".to_owned()),
            Role::Standby { trouble: Some(trouble), .. } => Err(trouble),
            Role::Standby { leader: None, .. } => Err(ForwardError::NoLeader.to_string()),
            Role::Standby { leader: Some(leader), .. } => {
                leader.missing().map_or(Ok(()), |why| Err(why.to_string()))
            }
            Role::Leading(office) => match office.actors.store.full() {
                Some(why) => Err(why.to_string()),
                None if office.lead.is_certain() => office.actors.logs.behind().map_or(Ok(()), Err),
                None => Err(RoleError::Uncertain.to_string()),
            },
        }
    }

    /// Whether calls are answered here, also where a part is missing.
    pub(crate) fn serves(&self) -> bool {
        !self.ending.is_cancelled()
            && match self.now() {
                Role::Leading(office) => office.lead.is_certain(),
                Role::Standby { leader, .. } => leader.is_some_and(|it| it.missing().is_none()),
                Role::Starting | Role::Loading => false,
            }
    }

    /// Whether this one leads; else who does.
    pub(crate) fn leads(&self) -> Result<(), String> {
        match self.now() {
            Role::Leading(office) if office.lead.is_certain() => Ok(()),
            Role::Leading(_) => Err(RoleError::Uncertain.to_string()),
            Role::Standby { leader: Some(leader), .. } => Err(format!("{} leads", leader.leader())),
            Role::Starting | Role::Loading | Role::Standby { .. } => Err("nobody leads".to_owned()),
        }
    }
}

/// All that is answered at the port: `own` for everybody, the rest by the role.
pub(super) fn switched(roles: &Roles, own: Routes) -> Routes {
    let switch = Switch { roles: roles.clone() };
    Routes::from(own.into_axum_router().fallback_service(switch))
}

/// Gives each call to the role of the moment.
#[derive(Clone, Debug)]
struct Switch {
    roles: Roles,
}

impl Service<Request<HttpBody>> for Switch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<HttpBody>) -> Self::Future {
        let role = self.roles.now();
        let ending = self.roles.ending.is_cancelled();
        Box::pin(async move {
            let refused = |why: Status| Ok(why.into_http());
            match role {
                // What it took before is answered by its services; they know that it ends.
                Role::Leading(office) if ending || office.lead.is_certain() => {
                    office.routes.clone().oneshot(request.map(Body::new)).await
                }
                Role::Leading(_) => refused(RoleError::Uncertain.into()),
                Role::Starting | Role::Loading => refused(RoleError::Starting.into()),
                Role::Standby { leader: Some(leader), .. } => {
                    // The leader sees the certificate of this controller alone.
                    if let Err(why) = shown(&request) {
                        return refused(why.into());
                    }
                    let answer = leader.call(request.map(Body::new));
                    drop(leader); // who waits for an answer does not keep the way open
                    Ok(answer.await)
                }
                Role::Standby { leader: None, .. } => refused(ForwardError::NoLeader.into()),
            }
        })
    }
}

/// Whether a call may be passed on as far as certificates go.
fn shown(request: &Request<HttpBody>) -> Result<(), DoorError> {
    let Some(rpc) = Rpc::from_path(request.uri().path()) else { return Ok(()) };
    let passed_on = request.headers().contains_key(FORWARDED);
    certified(rpc, request.extensions().get::<Peer>(), passed_on)
}

#[cfg(test)]
#[cfg(feature = "etcd")]
mod tests {
    use super::*;
    use octavius_protocol::reach::Address;

    fn roles() -> (Roles, CancellationToken) {
        let ending = CancellationToken::new();
        (Roles::new(ending.clone()), ending)
    }

    fn leader(address: &str) -> Leader {
        let address = Address::parse(address, false).unwrap();
        Leader::Another(Arc::new(Forwarder::to(&address, None).unwrap()))
    }

    #[tokio::test]
    async fn a_standby_answers_calls_as_far_as_its_way_to_the_leader_goes() {
        let (roles, ending) = roles();
        assert_eq!(roles.ready(), Err("the controller is starting".to_owned()));
        assert_eq!(roles.leads(), Err("nobody leads".to_owned()));
        roles.stand_by(Leader::Nobody, None);
        assert_eq!(roles.ready(), Err(ForwardError::NoLeader.to_string()));
        assert!(!roles.serves());
        roles.stand_by(leader("127.0.0.1:1"), None);
        assert_eq!(roles.ready(), Ok(()));
        assert!(roles.serves() && roles.office().is_none() && roles.actors().is_empty());
        assert!(roles.leads().is_err_and(|why| why.contains("127.0.0.1:1")));
        roles.stand_by(Leader::AsBefore, Some("it has no key".to_owned()));
        assert_eq!(roles.ready(), Err("it has no key".to_owned()), "it could not lead");
        assert!(roles.serves(), "it passes calls on nevertheless");
        let none = Forwarder::none("https://127.0.0.1:1", "no authorities".to_owned());
        roles.stand_by(Leader::Another(Arc::new(none)), None);
        assert!(roles.ready().is_err_and(|why| why.contains("no authorities")));
        assert!(!roles.serves());
        roles.stand_by(leader("127.0.0.1:1"), None);
        ending.cancel();
        assert!(roles.ready().is_err() && !roles.serves());
    }

    #[tokio::test]
    async fn who_was_elected_does_not_stand_by_because_of_what_was_known_before() {
        let (roles, _ending) = roles();
        roles.set(Role::Loading);
        roles.stand_by(leader("127.0.0.1:1"), Some("late news".to_owned()));
        assert!(matches!(roles.now(), Role::Loading), "{:?}", roles.now());
        assert_eq!(roles.ready(), Err("the controller was elected, and loads".to_owned()));
        roles.set(Role::Standby { leader: None, trouble: None });
        roles.stand_by(leader("127.0.0.1:1"), None);
        assert!(roles.serves());
    }
}
