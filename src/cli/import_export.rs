//! `foreshore import` and `foreshore export`: to and from CloudFront's description of a
//! distribution.

use std::ffi::OsString;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{ConfigArgs, fail};
use crate::clock::Clock;
use crate::cloudfront::import::{Functions, Imported, Input, Wishes};
use crate::cloudfront::{export, formation, import, seal, terraform};
use crate::config::{self, MissingCertificates, decode};

#[derive(Subcommand)]
pub(super) enum ImportCommand {
    /// Write a configuration from the output of `aws cloudfront get-distribution-config`.
    Cloudfront(ImportArgs),
    /// Write a configuration from the output of `terraform show -json`, of a state or a plan.
    Terraform(TerraformArgs),
    /// Write a configuration from a template, as it is written, or as `cdk synth`, `sam build` or
    /// `aws cloudformation get-template` give it.
    Cloudformation(FormationArgs),
}

#[derive(Args)]
pub(super) struct ImportArgs {
    /// Outputs of `aws cloudfront`, in any order: get-distribution-config, get-distribution or
    /// list-distributions, and beside it those of get-cache-policy, get-origin-request-policy,
    /// get-response-headers-policy, get-key-group, get-public-key and get-origin-access-control,
    /// their `-config` and their `list-` forms, as far as they are at hand.
    /// A file NAME.js is the code of the function NAME, as get-function writes it.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Args)]
pub(super) struct TerraformArgs {
    /// The output of `terraform show -json [PLAN]`, or a state's own file (terraform.tfstate).
    file: PathBuf,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Args)]
pub(super) struct FormationArgs {
    /// The template, as JSON or YAML.
    file: PathBuf,
    /// A parameter of the template, or AWS::Region, AWS::AccountId and the like. Repeatable;
    /// parameters that are not given have their defaults.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    parameter: Vec<(String, String)>,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Args)]
struct Wanted {
    /// Where the configuration goes. A file is written over if an import wrote it and it is
    /// unchanged, else not.
    #[arg(short, long, value_name = "FILE", default_value = "imported.toml")]
    out: PathBuf,
    /// Which distribution, where there are several: its id, its address in Terraform, its name in
    /// a template. Those of Terraform and of a template all go into one configuration where none
    /// is named.
    #[arg(long, value_name = "ID")]
    distribution: Option<String>,
    /// Ask another place for an origin: http://HOST[:PORT][/PATH], https://… or file:FOLDER.
    /// Repeatable; `*` is every origin.
    #[arg(long, value_name = "ID=URL", value_parser = origin)]
    origin: Vec<(String, String)>,
    /// Leave behaviors open whose viewer-request function is not carried over: these functions
    /// guard nothing.
    #[arg(long)]
    ignore_functions: bool,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err("this is NAME=VALUE".into()),
    }
}

fn origin(text: &str) -> Result<(String, String), String> {
    let cut = ["=http://", "=https://", "=file:"]
        .iter()
        .filter_map(|mark| text.find(*mark))
        .min()
        .filter(|cut| *cut > 0);
    let cut = cut.ok_or(
        "this is ID=URL, and the URL is http://HOST[:PORT][/PATH], https://… or file:FOLDER",
    )?;
    let (id, url) = (&text[..cut], &text[cut + 1..]);
    let Some(folder) = url.strip_prefix("file:") else {
        return Ok((id.to_string(), url.to_string()));
    };
    // Where the command is called counts, not where the configuration will lie.
    let folder = std::path::absolute(folder.trim_start_matches("//"))
        .map_err(|error| format!("{folder}: {error}"))?;
    if !folder.is_dir() {
        return Err(format!("{} is not a folder", folder.display()));
    }
    Ok((id.to_string(), format!("file:{}", folder.display())))
}

#[derive(Subcommand)]
pub(super) enum ExportCommand {
    /// Print a distribution as CloudFront describes one.
    Cloudfront(ExportArgs),
}

#[derive(Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Which one; may be left out if there is only one.
    #[arg(long, value_name = "ID")]
    distribution: Option<String>,
}

pub(super) fn run_import(command: &ImportCommand) -> ExitCode {
    match read_in(command) {
        Ok(report) => {
            eprint!("{report}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

fn read_in(command: &ImportCommand) -> Result<String, String> {
    let wanted = match command {
        ImportCommand::Cloudfront(args) => &args.wanted,
        ImportCommand::Terraform(args) => &args.wanted,
        ImportCommand::Cloudformation(args) => &args.wanted,
    };
    let functions = if wanted.ignore_functions { Functions::Ignored } else { Functions::Guard };
    let wishes = Wishes {
        distribution: wanted.distribution.clone(),
        origins: wanted.origin.clone(),
        functions,
        code: Vec::new(),
    };
    let mut imported = match command {
        ImportCommand::Cloudfront(args) => {
            let (inputs, code) = read_inputs(&args.files)?;
            import::import(inputs, &Wishes { code, ..wishes })?
        }
        ImportCommand::Terraform(args) => {
            let (name, text) = read_text(&args.file)?;
            let json = serde_json::from_str(&text).map_err(|error| {
                format!("{name}: this is no JSON: {error} (`terraform show -json` gives it)")
            })?;
            terraform::import(Input { name, json }, &wishes)?
        }
        ImportCommand::Cloudformation(args) => {
            let (name, text) = read_text(&args.file)?;
            let json = formation::parse(&text).map_err(|why| format!("{name}: {why}"))?;
            formation::import(Input { name, json }, &args.parameter, &wishes)?
        }
    };
    let stage = Stage::of(&wanted.out)?;
    settle(&mut imported, &stage)?;
    stage.place(&imported)?;
    Ok(format!("wrote {}\n{}", wanted.out.display(), imported.report.render()))
}

/// Names of functions, and their code.
type Code = Vec<(String, String)>;

fn read_inputs(files: &[PathBuf]) -> Result<(Vec<Input>, Code), String> {
    let (mut inputs, mut code, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for path in files {
        if let (Some(name), Some("js")) = (
            path.file_stem().and_then(|name| name.to_str()),
            path.extension().and_then(|ending| ending.to_str()),
        ) {
            match decode::read_text(path) {
                Ok(text) => code.push((name.to_string(), text)),
                Err(error) => wrong.push(format!("{}: {error}", path.display())),
            }
            continue;
        }
        match read_input(path) {
            Ok(input) => inputs.push(input),
            Err(why) => wrong.push(why),
        }
    }
    if wrong.is_empty() { Ok((inputs, code)) } else { Err(wrong.join("\nforeshore: ")) }
}

// A file's name, as messages have it, and its text.
fn read_text(path: &Path) -> Result<(String, String), String> {
    let name = path.display().to_string();
    let text = decode::read_text(path).map_err(|error| format!("{name}: {error}"))?;
    Ok((name, text))
}

fn read_input(path: &Path) -> Result<Input, String> {
    let (name, text) = read_text(path)?;
    if text.lines().any(|line| {
        line.starts_with("AWSTemplateFormatVersion:") || line.trim_end() == "Resources:"
    }) {
        return Err(format!(
            "{name}: this is a template: `foreshore import cloudformation` reads it; what comes of it is known once it is deployed, \
             by `aws cloudfront get-distribution-config --id ID`"
        ));
    }
    match serde_json::from_str(&text) {
        Ok(json) => Ok(Input { name, json }),
        Err(error) => Err(format!(
            "{name}: this is no JSON: {error} (`--output json` gives it, whatever the profile says)"
        )),
    }
}

// Rounds of taking out what the configuration refuses. Each takes out a line at least.
const ROUNDS: usize = 32;

// Nothing is written before all of it is known to load.
fn settle(imported: &mut Imported, stage: &Stage) -> Result<(), String> {
    let mut said = String::new();
    for _ in 0..ROUNDS {
        stage.fill(imported)?;
        let Err(report) =
            config::load(&stage.toml(), Clock::system().now(), MissingCertificates::Pending)
        else {
            return Ok(());
        };
        said = report.lines().join("\n").replace(&stage.toml().display().to_string(), "line");
        let refused: Vec<(usize, String)> = report
            .problems
            .iter()
            .map(|problem| (problem.span.start, problem.title.clone()))
            .collect();
        if refused.is_empty() || !imported.without(&refused) {
            break;
        }
    }
    Err(format!(
        "nothing was written: a value is refused that an import should have known of; change it in the input:\n{said}"
    ))
}

/// A folder beside the file to come, where everything lies until it is known to load. It goes when
/// this is dropped.
struct Stage {
    folder: PathBuf,
    out: PathBuf,
    name: OsString,
}

impl Stage {
    fn of(out: &Path) -> Result<Self, String> {
        let name = out
            .file_name()
            .ok_or_else(|| format!("{}: this is no name of a file", out.display()))?
            .to_os_string();
        let parent =
            out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = parent.join(format!(".foreshore-import-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(|error| format!("{}: {error}", parent.display()))?;
        Ok(Self { folder, out: out.to_path_buf(), name })
    }

    fn toml(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    fn fill(&self, imported: &Imported) -> Result<(), String> {
        let write = |path: &Path, text: &str| {
            // It may hold what origins are told in confidence.
            let file = std::fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path);
            let written =
                file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
            written.map_err(|error| format!("{}: {error}", path.display()))
        };
        for (name, text) in &imported.files {
            write(&self.folder.join(name), text)?;
        }
        write(&self.toml(), &imported.toml())
    }

    // Moves everything to its place, the configuration last; or nothing, if something stands there
    // that is not an import's.
    fn place(&self, imported: &Imported) -> Result<(), String> {
        let parent = self.out.parent().unwrap_or(Path::new(""));
        let mut moves = Vec::new();
        for (name, text) in &imported.files {
            let to = parent.join(name);
            may_write(&to, |there| there == text.as_bytes())?;
            moves.push((self.folder.join(name), to));
        }
        may_write(&self.out, |there| std::str::from_utf8(there).is_ok_and(seal::is_untouched))?;
        moves.push((self.toml(), self.out.clone()));
        for (from, to) in moves {
            std::fs::rename(&from, &to).map_err(|error| format!("{}: {error}", to.display()))?;
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

// Nothing is written over but what an import wrote, unchanged since.
fn may_write(path: &Path, is_ours: impl Fn(&[u8]) -> bool) -> Result<(), String> {
    match std::fs::read(path) {
        Ok(there) if is_ours(&there) => Ok(()),
        Ok(_) => Err(format!(
            "{}: this is there already, and not as an import left it; name another file with --out",
            path.display()
        )),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

pub(super) fn run_export(ExportCommand::Cloudfront(args): &ExportCommand) -> ExitCode {
    let site = match config::load(
        &args.config.config,
        Clock::system().now(),
        MissingCertificates::Pending,
    ) {
        Ok(loaded) => loaded.site,
        Err(report) => {
            eprint!("{}", report.render(false));
            return ExitCode::FAILURE;
        }
    };
    let known: Vec<&str> = site.distributions.iter().map(|one| one.id.as_str()).collect();
    let chosen = match (&args.distribution, &known[..]) {
        (Some(id), _) => site.distributions.iter().find(|one| one.id == *id),
        (None, [_]) => site.distributions.first(),
        (None, _) => None,
    };
    let Some(distribution) = chosen else {
        return fail(&format!(
            "name a distribution with --distribution; known: {}",
            known.join(", ")
        ));
    };
    let (json, left) = export::export(&site, distribution);
    println!("{}", serde_json::to_string_pretty(&json).unwrap_or_default());
    left.iter().for_each(|item| eprintln!("foreshore: {item}"));
    ExitCode::SUCCESS
}
