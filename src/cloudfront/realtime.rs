//! Pure: real-time log configurations beside the logs of the file, `[log.realtime_config.NAME]`: what
//! would not be obeyed is refused by the name of its field.

use serde_json::{Value, json};

pub use super::import_behaviors::realtime_log_of as log_of;
use super::strict::{Unfit, text};
use crate::distribution::logs::RealtimeLog;

/// The longest name (CloudFront's quota).
const NAME_MAX: usize = 64;

/// The name of one as policies of AWS have it.
pub fn arn(account: &str, name: &str) -> String {
    format!("arn:aws:cloudfront::{account}:realtime-log-config/{name}")
}

/// One as answers show it.
pub fn shown(config: &Value, account: &str) -> Value {
    let mut all = config.clone();
    all["ARN"] = json!(arn(account, text(config, &["Name"])));
    all
}

/// Holds one to the log of its name: that says which fields it has, and of how many requests.
pub fn fits(config: &Value, logs: &[RealtimeLog]) -> Result<(), Unfit> {
    let unfit = |why: String| Err(Unfit::new("InvalidArgument", why));
    let name = text(config, &["Name"]);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_plain) {
        return unfit(format!(
            "Name: {name:?}: a name has 1 to {NAME_MAX} letters, digits, - or _."
        ));
    }
    let Some(log) = logs.iter().find(|log| log.name.as_deref() == Some(name)) else {
        return unfit(format!(
            "Name: no [log.realtime_config.{name}] of the configuration names a file for it."
        ));
    };
    let rate = config.get("SamplingRate").and_then(Value::as_i64).unwrap_or(0);
    if rate != i64::from(log.sampling) {
        return unfit(format!(
            "SamplingRate: {rate} is not that of this edge; [log.realtime_config.{name}] says sampling = {}.",
            log.sampling
        ));
    }
    for one in listed(config, "EndPoints") {
        let kind = text(one, &["StreamType"]);
        if kind != "Kinesis" {
            return unfit(format!("EndPoints: {kind} is no type of a stream; Kinesis is."));
        }
    }
    let wanted: Vec<&str> = listed(config, "Fields").iter().filter_map(Value::as_str).collect();
    let told: Vec<&str> = log.fields.iter().map(|field| field.name()).collect();
    if let Some(field) = wanted.iter().find(|field| !told.contains(field)) {
        return unfit(format!(
            "Fields: {field} is not told; [log.realtime_config.{name}] has fields = {}.",
            told.join(", ")
        ));
    }
    match told.iter().find(|field| !wanted.contains(field)) {
        Some(field) => {
            unfit(format!("Fields: {field} is told, too, by [log.realtime_config.{name}]."))
        }
        None => Ok(()),
    }
}

fn listed<'v>(config: &'v Value, key: &str) -> &'v [Value] {
    config.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::logs::{RealtimeField, Told};

    fn config() -> Value {
        json!({ "Name": "all", "SamplingRate": 50, "Fields": ["c-ip", "timestamp"], "EndPoints": [
            { "StreamType": "Kinesis", "KinesisStreamConfig": { "RoleARN": "r", "StreamARN": "s" } }] })
    }

    #[test]
    fn only_what_the_log_says_is_taken() {
        let logs = [RealtimeLog {
            name: Some("all".into()),
            file: "rt.log".into(),
            sampling: 50,
            fields: vec![RealtimeField::Timestamp, RealtimeField::ClientIp],
            behaviors: Told::None,
        }];
        assert_eq!(fits(&config(), &logs), Ok(()));
        let refused = |config: Value| fits(&config, &logs).unwrap_err().message;
        for (key, value, field) in [
            ("Name", json!("a b"), "Name"),
            ("Name", json!("../x"), "Name"),
            ("Name", json!("other"), "Name: no [log.realtime_config.other]"),
            ("SamplingRate", json!(51), "SamplingRate"),
            ("Fields", json!(["timestamp"]), "Fields: c-ip"),
            ("Fields", json!(["timestamp", "c-ip", "cs-host"]), "Fields: cs-host"),
            ("EndPoints", json!([{ "StreamType": "Firehose" }]), "EndPoints"),
        ] {
            let mut config = config();
            config[key] = value;
            let said = refused(config);
            assert!(said.starts_with(field), "{said}");
        }
        let shown = shown(&config(), "1");
        assert_eq!(shown["ARN"], "arn:aws:cloudfront::1:realtime-log-config/all");
    }
}
