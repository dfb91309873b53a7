//! `foreshore explain`: a request's story, under a configuration that no edge need run. No socket
//! is opened.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::workplace::Workplace;
use super::{ConfigArgs, fail};
use crate::clock::Clock;
use crate::config::{self, MissingCertificates};
use crate::control::explain::{self, Question, Runner};
use crate::distribution::origin::Origin;
use crate::distribution::site::Site;
use crate::message::request::ViewerRequest;
use crate::origin::request::OriginRequest;
use crate::proxy::rehearsal::{AtOrigin, Rehearsed, Stage};

#[derive(Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The URL a viewer would ask for.
    url: String,
    /// A field of the request, `Name: value`; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The request's method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// The status of an answer of the origin's: what would become of it is told too.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: Option<u16>,
    /// A field of that answer, `Name: value`; may be given several times. Without --status it is a
    /// 200.
    #[arg(short = 'A', long = "answer", value_name = "FIELD")]
    answer: Vec<String>,
    /// The viewer's address.
    #[arg(long, default_value_t = explain::somewhere())]
    from: std::net::IpAddr,
    /// Run the lambdas at the viewer's and the origin's request too, each in a worker of its own.
    #[arg(long)]
    run: bool,
}

/// Workers for the lambdas of one story.
struct Workers {
    runtime: tokio::runtime::Runtime,
    stage: Stage,
    _workplace: Workplace,
}

impl Workers {
    fn new(site: &Arc<Site>) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let workplace = Workplace::new()?;
        let stage = Stage::new(site, workplace.settings(None));
        Ok(Self { runtime, stage, _workplace: workplace })
    }
}

impl Runner for Workers {
    fn viewer_request(&self, request: ViewerRequest) -> Option<Rehearsed> {
        self.runtime.block_on(self.stage.viewer_request(request))
    }

    fn origin_request(
        &self,
        arrived: ViewerRequest,
        left: Option<Arc<ViewerRequest>>,
        origin: &Arc<Origin>,
        built: OriginRequest,
    ) -> Option<AtOrigin> {
        self.runtime.block_on(self.stage.origin_request(arrived, left, origin, built))
    }
}

impl Drop for Workers {
    // Before the folder of the workers goes.
    fn drop(&mut self) {
        self.runtime.block_on(self.stage.end());
    }
}

pub(super) fn explain(args: &ExplainArgs) -> ExitCode {
    let now = Clock::system().now();
    let site = match config::load(&args.config.config, now, MissingCertificates::Pending) {
        Ok(loaded) => loaded.site,
        Err(report) => {
            eprint!("{}", report.render(false));
            return ExitCode::FAILURE;
        }
    };
    let question = Question {
        url: args.url.clone(),
        fields: args.headers.clone(),
        method: args.method.clone(),
        status: args.status,
        answer: args.answer.clone(),
        from: args.from,
    };
    let told = args.run.then(|| Workers::new(&site)).transpose().and_then(|workers| {
        let runner = workers.as_ref().map(|workers| workers as &dyn Runner);
        explain::explain(&site, &question, now, runner)
    });
    match told {
        Ok(story) => {
            print!("{story}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}
