//! Monitoring subscriptions of distributions: kept and given back. What they switch on at CloudFront
//! is counted here in any case.

use super::apply::Step;
use super::calls::Subscribing;
use super::kinds::Names;
use super::resources::{Asked, audit};
use super::rules::unknown;
use super::tree;
use super::xml::{Fault, Said};
use crate::cloudfront::model;
use crate::control::Control;
use crate::documents::shelf::{Document, Kind};

const ELEMENT: &str = "MonitoringSubscription";

impl Control {
    /// Makes, shows or removes the subscription of a distribution.
    pub(super) fn subscription(
        &self,
        what: Subscribing,
        id: &str,
        asked: &Asked,
    ) -> Result<Said, Fault> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        let names = Names::of(Kind::Distribution);
        if self.view(site, &documents).find(names.kind, id).is_none() {
            return Err(unknown(names));
        }
        let kind = Kind::MonitoringSubscription;
        let known = documents.get(kind, id).cloned();
        let nothing = || {
            let why = "The specified distribution has no monitoring subscription.";
            Fault::of("NoSuchMonitoringSubscription", why)
        };
        match what {
            Subscribing::Get => {
                let known = known.ok_or_else(nothing)?;
                Ok(whole(&known))
            }
            Subscribing::Create => {
                let shape = &model::MONITORING_SUBSCRIPTION;
                let config = tree::read(&asked.body, ELEMENT, shape)?;
                self.may_change(site)?;
                if known.is_some() {
                    let why = "The specified distribution has a monitoring subscription already.";
                    return Err(Fault::of("MonitoringSubscriptionAlreadyExists", why));
                }
                let document = Document::new(id, config, self.edge.clock.now().0);
                self.apply(&mut documents, Step::Keep(kind, &document))?;
                let action = "CreateMonitoringSubscription";
                audit(&asked.who, action, kind, id, None, Some(&document));
                Ok(whole(&document))
            }
            Subscribing::Delete => {
                self.may_change(site)?;
                let known = known.ok_or_else(nothing)?;
                self.apply(&mut documents, Step::Remove(kind, id))?;
                let action = "DeleteMonitoringSubscription";
                audit(&asked.who, action, kind, id, Some(&known), None);
                Ok(Said { status: 200, ..Said::default() })
            }
        }
    }
}

fn whole(document: &Document) -> Said {
    let xml = tree::write(ELEMENT, &model::MONITORING_SUBSCRIPTION, &document.config);
    Said { status: 200, xml, ..Said::default() }
}
