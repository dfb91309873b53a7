//! Pure: YAML, as templates of CloudFormation are written in it, as JSON.
//!
//! The short forms of functions become the long ones: `!Sub text` is `{ "Fn::Sub": text }`, `!Ref a`
//! is `{ "Ref": a }`, and `!GetAtt a.b` has its two parts. Plain scalars are what CloudFormation
//! takes them for, which is YAML 1.1's truth and numbers, without its dates.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput, Tag};
use serde_json::{Map, Value, json};

/// More is no template: CloudFormation's own bound is a mebibyte of text.
const VALUES: usize = 200_000;
const DEPTH: usize = 100;

/// The first document of a text.
pub fn read(text: &str) -> Result<Value, String> {
    let mut reader =
        Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    loop {
        match reader.step()? {
            Event::DocumentStart(_) => break,
            Event::StreamEnd => return Ok(Value::Null),
            _ => {}
        }
    }
    let first = reader.step()?;
    reader.value(first, DEPTH)
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Value>,
    /// How many were read, copies among them.
    values: usize,
}

impl<'t> Reader<'t> {
    fn step(&mut self) -> Result<Event<'t>, String> {
        match self.parser.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(wrong)) => {
                let line = wrong.marker().line();
                Err(format!("line {line}: {}", wrong.info()))
            }
            None => Err("it ends in the middle".into()),
        }
    }

    fn count(&mut self, more: usize) -> Result<(), String> {
        self.values = self.values.saturating_add(more);
        if self.values > VALUES {
            return Err(format!("it has more than {VALUES} values"));
        }
        Ok(())
    }

    fn value(&mut self, event: Event<'t>, depth: usize) -> Result<Value, String> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
        self.count(1)?;
        let (plain, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref()), anchor, tag)
            }
            Event::SequenceStart(anchor, tag) => (self.sequence(depth)?, anchor, tag),
            Event::MappingStart(anchor, tag) => (self.mapping(depth)?, anchor, tag),
            Event::Alias(anchor) => {
                let known = self.anchors.get(&anchor).cloned();
                let known = known.ok_or("an alias has no anchor before it")?;
                self.count(size(&known))?;
                return Ok(known);
            }
            other => return Err(format!("{other:?} is no value")),
        };
        let made = match tag.as_deref().and_then(function) {
            Some(name) => called(&name, plain),
            None => plain,
        };
        if anchor > 0 {
            self.anchors.insert(anchor, made.clone());
        }
        Ok(made)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, String> {
        let mut all = Vec::new();
        loop {
            match self.step()? {
                Event::SequenceEnd => return Ok(Value::Array(all)),
                event => all.push(self.value(event, depth)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, String> {
        let mut all = Map::new();
        loop {
            let key = match self.step()? {
                Event::MappingEnd => return Ok(Value::Object(all)),
                // A key is its text, whatever it looks like.
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err("a key is no text".into()),
            };
            let event = self.step()?;
            let value = self.value(event, depth)?;
            match value {
                Value::Object(merged) if key == "<<" => {
                    for (key, value) in merged {
                        all.entry(key).or_insert(value);
                    }
                }
                value => drop(all.insert(key, value)),
            }
        }
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(all) => 1 + all.iter().map(size).sum::<usize>(),
        Value::Object(all) => 1 + all.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

// The long name of a short form; `None` for what is no function.
fn function(tag: &Tag) -> Option<String> {
    if tag.handle != "!" || tag.suffix.is_empty() {
        return None;
    }
    Some(match tag.suffix.as_str() {
        "Ref" => "Ref".into(),
        "Condition" => "Condition".into(),
        name => format!("Fn::{name}"),
    })
}

fn called(name: &str, said: Value) -> Value {
    let parts =
        said.as_str().filter(|_| name == "Fn::GetAtt").and_then(|text| text.split_once('.'));
    let said = match parts {
        Some((resource, attribute)) => json!([resource, attribute]),
        None => said,
    };
    json!({ name: said })
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    if style != ScalarStyle::Plain || tag.is_some() {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => true.into(),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => false.into(),
        _ => number(text).unwrap_or_else(|| text.into()),
    }
}

// Only what is written back as it was: `0123` and `1e3` may be names.
fn number(text: &str) -> Option<Value> {
    let whole: i64 = text.parse().ok()?;
    (whole.to_string() == text).then(|| whole.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_read_as_cloudformation_does() {
        let text = "\
AWSTemplateFormatVersion: '2010-09-09' # words
Parameters: {Stage: {Type: String, Default: prod}}
Resources:
  Site:
    Type: AWS::CloudFront::Distribution
    Properties:
      DistributionConfig:
        Enabled: yes
        Comment: !Sub >-
          ${AWS::StackName}
          site
        Aliases: [!Ref Domain, 'a.test']
        Origins:
        - Id: \"o\"
          DomainName: !GetAtt Bucket.RegionalDomainName
          OriginPath: !Join ['/', ['', !Ref Stage]]
          ConnectionAttempts: 2
          Empty:
        DefaultTTL: 0123
";
        assert_eq!(
            read(text).unwrap(),
            json!({
                "AWSTemplateFormatVersion": "2010-09-09",
                "Parameters": { "Stage": { "Type": "String", "Default": "prod" } },
                "Resources": { "Site": { "Type": "AWS::CloudFront::Distribution", "Properties": { "DistributionConfig": {
                    "Enabled": true, "Comment": { "Fn::Sub": "${AWS::StackName} site" },
                    "Aliases": [{ "Ref": "Domain" }, "a.test"],
                    "Origins": [{ "Id": "o", "DomainName": { "Fn::GetAtt": ["Bucket", "RegionalDomainName"] },
                        "OriginPath": { "Fn::Join": ["/", ["", { "Ref": "Stage" }]] }, "ConnectionAttempts": 2, "Empty": null }],
                    "DefaultTTL": "0123",
                } } } },
            })
        );
    }

    #[test]
    fn anchors_are_copied_and_bounded() {
        let text = "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n  e: 2\n";
        assert_eq!(
            read(text).unwrap(),
            json!({ "a": { "b": 1 }, "c": { "b": 1 }, "d": { "b": 1, "e": 2 } })
        );
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_string();
        for at in 1..9 {
            let before = vec![format!("*a{}", at - 1); 9].join(", ");
            bomb.push_str(&format!("a{at}: &a{at} [{before}]\n"));
        }
        assert!(read(&bomb).unwrap_err().contains("values"));
        assert!(read(&"[".repeat(5000)).is_err());
        assert!(read("a: [").is_err() && read("a: *nothing").is_err());
        assert_eq!(read("").unwrap(), Value::Null);
    }
}
