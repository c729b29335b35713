//! The commands: arguments, exit codes and the streams that results and messages go to.
//!
//! Results go to stdout, everything else to stderr. A closed pipe ends a command quietly.

mod alerts;
mod baseline;
mod blind;
mod check;
mod daemon;
mod explain;
mod fields;
mod notify;
mod outbox;
mod replay;
mod rule_set;
mod rules;
mod run;
mod scoreboard;
mod silence;
mod terminal;
mod test;

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

/// Watches Kubernetes audit logs and says who abuses the API.
#[derive(Debug, Parser)]
#[command(name = "auditwatch", version, about, arg_required_else_help = true)]
#[command(max_term_width = 100, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch audit logs and tell who abuses the API, until it is stopped.
    Run(Box<run::RunArgs>),
    /// Read archives of audit logs and show who abused the API.
    Replay(replay::ReplayArgs),
    /// Say all that is wrong with rules and configuration.
    Check(check::CheckArgs),
    /// List the rules, or show one.
    Rules(rules::RulesArgs),
    /// Run the cases of rules.
    Test(test::TestArgs),
    /// Say why a rule did or did not match an event.
    Explain(explain::ExplainArgs),
    /// Replay a labelled log and say which of its attacks were caught.
    Scoreboard(scoreboard::ScoreboardArgs),
    /// List the fields that rules can name.
    Fields(fields::FieldsArgs),
    /// See and change what rules have learnt to be normal.
    Baseline(baseline::BaselineArgs),
    /// Try a receiver before somebody depends on it.
    Notify(notify::NotifyArgs),
    /// See what waits for a receiver and what was given up; send it again or drop it.
    Outbox(outbox::OutboxArgs),
    /// See the open alerts of a running daemon, take care of them, end them.
    Alerts(alerts::AlertsArgs),
    /// Make things quiet for a while; see what is quiet, why and until when.
    Silence(silence::SilenceArgs),
    /// Print a completion script for a shell.
    Completions {
        /// The shell to complete in.
        shell: clap_complete::Shell,
    },
}

/// Why a command ended without doing its job. Each kind has its exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Something that was asked to hold did not: exit 1. The message may be empty when the
    /// results on stdout say it all.
    #[error("{0}")]
    Failed(String),
    /// Wrong usage, configuration or rule: exit 2.
    #[error("{0}")]
    Wrong(String),
    /// Input that could not be read at all: exit 3.
    #[error("{0}")]
    Unreadable(String),
    /// Output that could not be written.
    #[error("cannot write the results: {0}")]
    Output(#[from] io::Error),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed(_) => ExitCode::from(1),
            Self::Wrong(_) => ExitCode::from(2),
            Self::Unreadable(_) => ExitCode::from(3),
            // The reader went away, as `head` does: there is nobody to tell.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Output(_) => ExitCode::from(3),
        }
    }
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let message = failure.to_string();
            let closed_pipe = matches!(&failure, Failure::Output(error)
                if error.kind() == io::ErrorKind::BrokenPipe);
            if !message.is_empty() && !closed_pipe {
                terminal::say(&message);
            }
            failure.exit_code()
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Run(args) => run::run(*args),
        Command::Replay(args) => replay::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Rules(args) => rules::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Scoreboard(args) => scoreboard::run(&args),
        Command::Fields(args) => fields::run(&args),
        Command::Baseline(args) => baseline::run(&args),
        Command::Notify(args) => notify::run(args),
        Command::Outbox(args) => outbox::run(args),
        Command::Alerts(args) => alerts::run(args),
        Command::Silence(args) => silence::run(args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "auditwatch", &mut script);
            Ok(io::Write::write_all(&mut io::stdout().lock(), &script)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
