//! Real-time log configurations: kept and given back where they say what the file's log of their name
//! says, which goes to a file in the place of a stream. A behavior that names one is told of in it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::apply::Step;
use super::calls::LogVerb;
use super::kinds::Names;
use super::resources::{Asked, audit};
use super::rules::user_of;
use super::tree;
use super::views::{self, Paging};
use super::xml::{Fault, Said};
use crate::cloudfront::realtime::log_of;
use crate::cloudfront::shape::Shape;
use crate::cloudfront::strict::text;
use crate::cloudfront::{live, model, realtime};
use crate::control::Control;
use crate::documents::shelf::{Document, Documents, Kind};

const KIND: Kind = Kind::RealtimeLogConfig;
/// Configurations that are kept.
const LOGS_MAX: usize = 100;

impl Control {
    /// Does one of the six calls about them.
    pub(super) fn realtime_log(&self, verb: LogVerb, asked: &Asked) -> Result<Said, Fault> {
        match verb {
            LogVerb::Create => self.create_log(asked),
            LogVerb::Update => self.update_log(asked),
            LogVerb::Delete => self.delete_log(asked),
            LogVerb::Get => {
                let shape = &model::GET_REALTIME_LOG_CONFIG_REQUEST;
                let body = tree::read(&asked.body, "GetRealtimeLogConfigRequest", shape)?;
                let known = known(&body, &self.documents.lock())?;
                let (root, shape) =
                    ("GetRealtimeLogConfigResult", &model::GET_REALTIME_LOG_CONFIG_RESULT);
                Ok(self.log_told((root, shape), &known, 200))
            }
            LogVerb::List => {
                let paging = Paging::of(asked.query.as_deref())?;
                let documents = self.documents.lock().clone();
                let account = self.edge.running().site.admin.account.clone();
                let all = documents.of(KIND);
                let all = all.map(|one| (one.id.clone(), realtime::shown(&one.config, &account)));
                let xml = views::realtime_logs(all.collect(), &paging);
                Ok(Said { status: 200, xml, ..Said::default() })
            }
            LogVerb::Users => self.users_of_log(asked),
        }
    }

    fn create_log(&self, asked: &Asked) -> Result<Said, Fault> {
        let shape = &model::CREATE_REALTIME_LOG_CONFIG_REQUEST;
        let body = tree::read(&asked.body, "CreateRealtimeLogConfigRequest", shape)?;
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        self.may_change(&running.site)?;
        let name = text(&body, &["Name"]).to_string();
        if documents.get(KIND, &name).is_some() {
            let why = format!("There is one with this name already: {name}.");
            return Err(Fault::of("RealtimeLogConfigAlreadyExists", &why));
        }
        if documents.count(KIND) >= LOGS_MAX {
            let why = format!("There are {LOGS_MAX} of them already.");
            return Err(Fault::of("TooManyRealtimeLogConfigs", &why));
        }
        // Its name is that of a file: it is looked at before the document is made.
        realtime::fits(&body, &running.site.more_logs.realtime)?;
        let document = Document::new(name, body, self.edge.clock.now().0);
        self.apply(&mut documents, Step::Keep(KIND, &document))?;
        let action = "CreateRealtimeLogConfig";
        audit(&asked.who, action, KIND, &document.id, None, Some(&document));
        let shape = &model::CREATE_REALTIME_LOG_CONFIG_RESULT;
        Ok(self.log_told(("CreateRealtimeLogConfigResult", shape), &document, 201))
    }

    fn update_log(&self, asked: &Asked) -> Result<Said, Fault> {
        let shape = &model::UPDATE_REALTIME_LOG_CONFIG_REQUEST;
        let body = tree::read(&asked.body, "UpdateRealtimeLogConfigRequest", shape)?;
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        self.may_change(&running.site)?;
        let known = known(&body, &documents)?;
        let mut config = known.config.clone();
        for key in ["EndPoints", "Fields", "SamplingRate"] {
            if let Some(value) = body.get(key) {
                config[key] = value.clone();
            }
        }
        let told = ("UpdateRealtimeLogConfigResult", &model::UPDATE_REALTIME_LOG_CONFIG_RESULT);
        if config == known.config {
            return Ok(self.log_told(told, &known, 200));
        }
        let document = known.with_config(config, self.edge.clock.now().0);
        self.apply(&mut documents, Step::Keep(KIND, &document))?;
        let action = "UpdateRealtimeLogConfig";
        audit(&asked.who, action, KIND, &document.id, Some(&known), Some(&document));
        Ok(self.log_told(told, &document, 200))
    }

    fn delete_log(&self, asked: &Asked) -> Result<Said, Fault> {
        let shape = &model::DELETE_REALTIME_LOG_CONFIG_REQUEST;
        let body = tree::read(&asked.body, "DeleteRealtimeLogConfigRequest", shape)?;
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        let known = known(&body, &documents)?;
        if let Some(user) = user_of(KIND, &known.id, &self.view(site, &documents)) {
            let why = format!("The resource is in use: {user} names it.");
            return Err(Fault::of("RealtimeLogConfigInUse", &why));
        }
        self.apply(&mut documents, Step::Remove(KIND, &known.id))?;
        audit(&asked.who, "DeleteRealtimeLogConfig", KIND, &known.id, Some(&known), None);
        Ok(Said { status: 204, ..Said::default() })
    }

    fn users_of_log(&self, asked: &Asked) -> Result<Said, Fault> {
        let (root, shape) = (
            "ListDistributionsByRealtimeLogConfigRequest",
            &model::LIST_DISTRIBUTIONS_BY_REALTIME_LOG_CONFIG_REQUEST,
        );
        let body = tree::read_if_any(&asked.body, root, shape)?;
        let say = |key: &str| text(&body, &[key]);
        let paging = Paging::said(say("Marker").to_string(), say("MaxItems"))?;
        let name = match say("RealtimeLogConfigName") {
            "" => log_of(say("RealtimeLogConfigArn")).unwrap_or_default(),
            name => name,
        };
        let running = self.edge.running();
        let documents = self.documents.lock().clone();
        let own = Names::of(Kind::Distribution);
        let mut found = self.view(&running.site, &documents).all(own.kind);
        found.retain(|one| {
            let named = live::named(own.kind, &one.document.config);
            named.iter().any(|(kind, id, _)| *kind == KIND && id == name)
        });
        let spreading = self.spreading_ids(own, found.iter());
        let account = running.site.admin.account.as_str();
        let xml = views::list(own, &found, account, &paging, &spreading);
        Ok(Said { status: 200, xml, ..Said::default() })
    }

    // One as it is answered, in the element that the call has for it.
    fn log_told(&self, (root, shape): (&str, &Shape), document: &Document, status: u16) -> Said {
        let running = self.edge.running();
        let shown = realtime::shown(&document.config, &running.site.admin.account);
        let xml = tree::write(root, shape, &json!({ "RealtimeLogConfig": shown }));
        Said { status, xml, ..Said::default() }
    }
}

// The one that a body names, by its name or its ARN.
fn known(body: &Value, documents: &Documents) -> Result<Arc<Document>, Fault> {
    let name = match text(body, &["Name"]) {
        "" => log_of(text(body, &["ARN"])).unwrap_or_default(),
        name => name,
    };
    documents.get(KIND, name).cloned().ok_or_else(|| {
        let why = "The specified real-time log configuration does not exist.";
        Fault::of("NoSuchRealtimeLogConfig", why)
    })
}
