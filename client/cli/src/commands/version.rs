//! `octavius version`: what this client and its controller are.

use crate::{
    context::Context,
    exit::{Exit, Failure},
    render::{Shown, Style, text::one_line},
};
use clap::Args;
use octavius_client::v1::GetVersionResponse;
use serde_json::{Value, json};

/// Show the versions of this client and of its controller
///
/// `octavius --version` shows the client's alone and asks nobody.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius version")]
pub(crate) struct Version {}

impl Version {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let asked = async {
            let client = context.client()?;
            let controller = client.version().await?;
            Ok::<_, Failure>((client.address().to_owned(), controller))
        };
        match asked.await {
            Ok(controller) => {
                context.output.show(&Versions { controller: Some(controller) })?;
                Ok(Exit::Done)
            }
            Err(failure) => {
                // The client's version is known whatever became of the controller's.
                if !context.output.format().is_document() {
                    context.output.show(&Versions { controller: None })?;
                }
                Err(failure)
            }
        }
    }
}

/// This client, and the controller at its address.
struct Versions {
    controller: Option<(String, GetVersionResponse)>,
}

impl Shown for Versions {
    fn text(&self, _style: &Style) -> String {
        let mut text = format!("client      {}\n", env!("CARGO_PKG_VERSION"));
        if let Some((address, controller)) = &self.controller {
            text += &format!(
                "controller  {} at {address}, installation {}\n",
                one_line(&controller.version),
                one_line(&controller.installation)
            );
        }
        text
    }

    fn names(&self) -> Vec<String> {
        let controller =
            self.controller.iter().map(|(_, controller)| one_line(&controller.version));
        [env!("CARGO_PKG_VERSION").to_owned()].into_iter().chain(controller).collect()
    }

    fn document(&self) -> Value {
        let controller = self.controller.as_ref().map(|(address, controller)| {
            json!({
                "address": address,
                "version": controller.version,
                "protocol_level": controller.protocol_level,
                "installation": controller.installation,
            })
        });
        json!({ "client": { "version": env!("CARGO_PKG_VERSION") }, "controller": controller })
    }
}
