//! `octavius token`: makes the tokens of people, and shows and ends tokens of all kinds.

use crate::{
    context::Context,
    exit::{Exit, Failure},
    render::access::{MadeToken, RevokedToken, Tokens},
    span::{Lasting, lasting},
};
use clap::{Args, Subcommand};
use octavius_client::v1;

/// Make, list and revoke tokens
///
/// A token says who somebody is. It is shown once, when it is made; the controller keeps only what proves it.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius token create ada@example.com --groups sre,web
  octavius token list
  octavius token revoke 0123456789abcdef")]
pub(crate) struct Token {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Create(CreateToken),
    List(ListTokens),
    Revoke(RevokeToken),
}

/// Make a token for a person
///
/// Standard output is the token alone. Whoever it is for gives it with `octavius config` or as ACCESS_TOKEN. It lets them do
/// nothing before they, or one of their groups, have a role: see `octavius role grant`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  octavius token create ada@example.com --groups sre,web
  octavius token create ci --expires never > token")]
struct CreateToken {
    /// Whose it is, for example an e-mail address
    #[arg(value_name = "NAME")]
    name: String,
    /// The groups that they belong to, by the names that jobs have in `authorized_groups`
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    groups: Vec<String>,
    /// For how long it is taken, at most 365d; `never`: until it is revoked
    #[arg(long, value_name = "TIME", value_parser = lasting, default_value = "90d")]
    expires: Lasting,
}

/// Show all tokens: of people, for joining, and of executors
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius token list")]
struct ListTokens {}

/// End a token of any kind
///
/// Whoever has it is out with the next call. What an executor runs goes on, and is not heard of before it has another one.
#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  octavius token revoke 0123456789abcdef")]
struct RevokeToken {
    /// The token's id, as `octavius token list` shows it
    #[arg(value_name = "ID")]
    id: String,
}

impl Token {
    pub(crate) async fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self.command {
            Command::Create(command) => command.run(context).await,
            Command::List(ListTokens {}) => {
                let tokens = context.client()?.tokens().await?;
                context.output.show(&Tokens(tokens))?;
                Ok(Exit::Done)
            }
            Command::Revoke(RevokeToken { id }) => {
                let revoked = context.client()?.revoke_token(&id).await?;
                context.output.show(&RevokedToken(revoked))?;
                Ok(Exit::Done)
            }
        }
    }
}

impl CreateToken {
    async fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self { name, groups, expires } = self;
        let expires_in = expires.0.and_then(|time| time.try_into().ok());
        let request = v1::CreateTokenRequest { name: name.clone(), groups, expires_in };
        let made = context.client()?.create_token(request).await?;
        context.output.show(&MadeToken::new(made.token, made.about))?;
        context.output.hint(&format!(
            "This is the only time that it is shown. What {name} may do: `octavius role grant operator --person {name}`."
        ));
        Ok(Exit::Done)
    }
}
