//! The commands and their help, defined once.

mod admin_client;
mod adopt;
mod bind;
mod certs;
mod check;
mod cores;
mod disk_tier;
mod explain;
mod fle;
mod fleet;
mod function;
mod generate;
mod hand_over;
mod hold;
mod import_export;
mod kv;
mod membership;
mod opened;
mod printable;
mod promote;
mod purge;
mod reload;
mod restored;
mod run;
mod seal;
mod sign;
mod store;
mod take_over;
mod top;
mod upgrade;
mod workplace;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A CDN edge: a caching reverse proxy that behaves like Amazon CloudFront, on your own machine.
#[derive(Parser)]
#[command(
    name = "foreshore",
    version,
    max_term_width = 100,
    arg_required_else_help = false,
    args_conflicts_with_subcommands = true
)]
#[command(
    after_help = "Without a command, `run` is meant. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 invalidated here but not everywhere yet."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Serve. SIGHUP or a changed file reloads, SIGUSR2 upgrades, SIGTERM drains.
    #[command(
        after_help = "Reloading swaps the whole configuration at once and keeps what is cached; a file with mistakes \
        changes nothing, and says so in the log and in /v1/status. SIGTERM stops accepting, finishes what is in \
        hand (at most limits.drain), and leaves; a second signal leaves at once. SIGUSR2 starts the program's file anew, which takes over sockets, \
        store and log: see `foreshore upgrade`."
    )]
    Run(RunArgs),
    /// Report every mistake of a configuration at once, with line and remedy; exit 1 if there is
    /// any.
    Check(ConfigArgs),
    /// Tell what would happen to a request and why, without opening a socket.
    #[command(
        after_help = "Examples:\n  foreshore explain https://www.example.com/img/cat.png -H 'Accept-Encoding: br'\n  foreshore explain https://www.example.com/me -A 'Cache-Control: private'\n  \
        foreshore explain http://localhost/images/a.jpg --run\n\n\
        It calls the very functions that serve requests: what it says is what would be done."
    )]
    Explain(explain::ExplainArgs),
    /// Invalidate what a running edge has stored.
    #[command(
        after_help = "Examples:\n  foreshore purge /index.html '/img/*'\n  foreshore purge --tag product:42 --soft\n  \
        foreshore purge '/*' --dry-run\n\nOnce this returns, nothing asked for before it is ever served as fresh again, \
        not even by a fetch that is under way, and not after a crash. Exit code 3: that holds for this edge, but some parent or some \
        edge of its fleet has yet to apply it, and the time to wait is over; it will, in order.\n\n\
        In a fleet each edge is one of: applied; fenced, it validates what it has stored before it uses it; unproven, it may serve what it \
        has stored and is configured so (prefer = \"availability\"); waiting."
    )]
    Purge(purge::PurgeArgs),
    /// Show the fleet that a running edge is a member of: edges, how far each is, leases.
    #[command(
        after_help = "Examples:\n  foreshore fleet\n  foreshore fleet --admin 127.0.0.1:9080 --token-file admin-token --json\n\n\
        An edge that is behind is catching up; one that is silent was not heard of for longer than a lease, and what it has stored counts for \
        nothing until it is back, or is served unproven where it prefers availability."
    )]
    Fleet(fleet::FleetArgs),
    /// Show what a running edge does, once a second: rates, behaviors, origins, the top URLs.
    #[command(
        after_help = "Examples:\n  foreshore top\n  foreshore top --once\n  foreshore top --once --json\n\n\
        The edge gathers URLs while it is looked at, and for a quarter of a minute more; the dashboard on the admin listener, /dashboard, shows the \
        same in a browser. Ctrl-C ends it."
    )]
    Top(top::TopArgs),
    /// Have a running edge read its configuration again, and tell what became of it.
    #[command(
        after_help = "Examples:\n  foreshore reload\n  foreshore reload --config /etc/foreshore/foreshore.toml\n\nAll of the file is taken or, with exit \
        code 1 and every mistake named, nothing; settings that want a restart are named, and what is cached stays. Certificates that a CA \
        did not issue are tried again, each a minute after its last attempt at the earliest, and not while the CA wants to be left alone."
    )]
    Reload(reload::ReloadArgs),
    /// Have a new process, of a new program or of the same one, take the place of a running edge.
    #[command(
        after_help = "Examples:\n  foreshore upgrade\n  foreshore upgrade --binary /opt/foreshore-0.2/foreshore\n\nNo connection over TCP is refused, what is \
        stored on the disk and what was invalidated stay in force, counters go on, and the process before finishes what is in hand (at most \
        limits.drain). Exit code 1: the new process ended, hung, or has mistakes in its configuration; it was ended, and the running edge goes on as \
        it was. It is started with the options of the running one. SIGUSR2 does the same."
    )]
    Upgrade(upgrade::UpgradeArgs),
    /// Let a staging distribution take the place of the one it is for, in a running edge.
    #[command(
        after_help = "Examples:\n  foreshore promote ESTAGING\n  foreshore promote ESTAGING --undo\n\nIt holds over restarts until it is taken back, \
        or the configuration no longer has the distribution as staging. Once the configuration says the same, take it back."
    )]
    Promote(promote::PromoteArgs),
    /// Move a distribution of CloudFront's API into a file of the configuration, and back.
    #[command(
        after_help = "Examples:\n  foreshore adopt E1ABCDEFGHIJKL\n  foreshore adopt E1ABCDEFGHIJKL --undo\n\nThe configuration has to include a \
        folder of files: include = [\"sites/*.toml\"]. The file is sites/E1ABCDEFGHIJKL.toml; what is stored stays, and nothing is served otherwise \
        meanwhile. Policies, keys and functions that the API made are named by their ids and stay with the API. Back goes what the API has words for."
    )]
    Adopt(adopt::AdoptArgs),
    /// Read and change the key value stores of a running edge, which functions read.
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  foreshore kv list\n  foreshore kv put flags beta on\n  foreshore kv get flags beta\n  \
        foreshore kv export flags > flags.json\n  foreshore kv import flags flags.json\n\n\
        A store that is read from a file is changed there. Files are as CloudFront imports them: {\"data\":[{\"key\":\"…\",\"value\":\"…\"}]}."
    )]
    Kv(kv::KvCommand),
    /// Look at the disk store: of a running edge with --admin, of its files otherwise.
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// Sign URLs and cookies for behaviors with trusted key groups.
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  foreshore sign url https://www.example.com/private/a.jpg \\\n    --key-id KEXAMPLE --key signer.pem --expires-in 10m\n  \
        foreshore sign cookies https://www.example.com/ \\\n    --resource 'https://www.example.com/private/*' --key-id KEXAMPLE --key signer.pem\n\n\
        Signatures are over SHA-256 (Hash-Algorithm=SHA256); those over SHA-1 of older signers are taken too."
    )]
    Sign(sign::SignCommand),
    /// Check and try out functions and lambdas without an edge; list and deploy those of a running
    /// one.
    #[command(subcommand)]
    #[command(after_help = "Examples:\n  foreshore function check functions/*.js\n  \
        foreshore function event 'https://www.example.com/docs/?a=1' -H 'Accept-Language: de' > event.json\n  \
        foreshore function test functions/index.js --event event.json\n  \
        foreshore function event https://www.example.com/ --hook origin-request > event.json\n  \
        foreshore function test resize.zip --runtime nodejs20.x --event event.json\n\n\
        Exit codes: 0 done, 1 something is wrong with the code, 2 something could not be read.")]
    Function(function::FunctionCommand),
    /// Open fields that field-level encryption has sealed.
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  foreshore fle decrypt --key fields-private.pem < field.txt\n\n\
        Exit codes: 0 it was opened, 1 it was not."
    )]
    Fle(fle::FleCommand),
    /// Write a configuration from another system's description.
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  aws cloudfront get-distribution-config --id E1234 > e1234.json\n  aws cloudfront get-cache-policy --id … > policy.json\n  \
        foreshore import cloudfront e1234.json policy.json --out e1234.toml\n  \
        foreshore import cloudfront e1234.json --origin '*=http://127.0.0.1:3000'\n  foreshore run --config imported.toml\n  \
        terraform show -json > state.json\n  foreshore import terraform state.json\n  \
        cdk synth > site.yaml\n  foreshore import cloudformation site.yaml --parameter AWS::Region=eu-west-1\n\n\
        Whatever cannot be carried over is listed, the most urgent first. A behavior that wants signatures stays closed until its keys are \
        there, one with a viewer-request function until you open it. Nothing is written that does not load."
    )]
    Import(import_export::ImportCommand),
    /// Describe a distribution in another system's words.
    #[command(subcommand)]
    Export(import_export::ExportCommand),
    /// Make certificates for trying things out, and list those of a running edge.
    #[command(subcommand)]
    Certs(certs::CertsCommand),
    /// Print the JSON Schema of a configuration, for editors.
    #[command(after_help = "Example:\n  foreshore schema > foreshore.schema.json\n\n\
        Editors with taplo find it by a first line of the configuration: #:schema ./foreshore.schema.json")]
    Schema,
    /// Print completions for a shell.
    #[command(
        after_help = "Examples:\n  foreshore completions bash > /etc/bash_completion.d/foreshore\n  \
        foreshore completions fish > ~/.config/fish/completions/foreshore.fish"
    )]
    Completions(generate::CompletionArgs),
    /// Print the manual page, or write those of all commands.
    #[command(after_help = "Example:\n  foreshore man --out /usr/local/share/man/man1")]
    Man(generate::ManArgs),
    /// Give up what a worker of a lambda may not have, and become the worker.
    #[command(name = "__worker", hide = true)]
    Worker { orders: String },
}

/// Which configuration.
#[derive(Args, Clone)]
pub(crate) struct ConfigArgs {
    /// The configuration file.
    #[arg(
        short,
        long,
        value_name = "FILE",
        default_value = "config/foreshore.toml",
        env = "FORESHORE_CONFIG"
    )]
    pub config: PathBuf,
}

/// How to run.
#[derive(Args, Clone)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub config: ConfigArgs,
    /// How much the program says of itself.
    #[arg(long, value_enum, default_value = "info", env = "FORESHORE_LOG")]
    pub log_level: Level,
    /// Do not print the lines to paste.
    #[arg(long)]
    pub quiet: bool,
    /// Take the place of the process that has started this one and is at its standard input.
    #[arg(long, hide = true)]
    pub take_over: bool,
}

/// Levels of the program's own log.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => run::run(&cli.run),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Check(args)) => check::check(&args),
        Some(Command::Explain(args)) => explain::explain(&args),
        Some(Command::Purge(args)) => purge::purge(&args),
        Some(Command::Fleet(args)) => fleet::fleet(&args),
        Some(Command::Top(args)) => top::top(&args),
        Some(Command::Reload(args)) => reload::reload(&args),
        Some(Command::Upgrade(args)) => upgrade::upgrade(&args),
        Some(Command::Promote(args)) => promote::promote(&args),
        Some(Command::Adopt(args)) => adopt::adopt(&args),
        Some(Command::Kv(command)) => kv::kv(&command),
        Some(Command::Store(command)) => store::store(&command),
        Some(Command::Sign(command)) => sign::run(&command),
        Some(Command::Function(command)) => function::function(&command),
        Some(Command::Fle(command)) => fle::run(&command),
        Some(Command::Import(command)) => import_export::run_import(&command),
        Some(Command::Export(command)) => import_export::run_export(&command),
        Some(Command::Certs(command)) => certs::certs(&command),
        Some(Command::Schema) => generate::schema(),
        Some(Command::Completions(args)) => generate::completions(&args),
        Some(Command::Man(args)) => generate::man(&args),
        Some(Command::Worker { orders }) => crate::lambda::launch::run(&orders),
    }
}

/// Says what went wrong, on standard error.
fn fail(why: &str) -> ExitCode {
    eprintln!("foreshore: {why}");
    ExitCode::FAILURE
}
