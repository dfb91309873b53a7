//! Where an address is: a database of MaxMind's format, held in memory, and what it says of a
//! viewer.

use std::net::IpAddr;
use std::sync::Arc;

use maxminddb::Reader;
use serde_json::Value;

/// What is known of an address's place. Everything is as the database has it; what it does not know
/// is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Location {
    /// ISO 3166-1 alpha-2, in capitals.
    pub country: Option<String>,
    pub country_name: Option<String>,
    pub region: Option<String>,
    pub region_name: Option<String>,
    pub city: Option<String>,
    pub postal_code: Option<String>,
    pub metro_code: Option<String>,
    pub latitude: Option<String>,
    pub longitude: Option<String>,
    pub time_zone: Option<String>,
    pub asn: Option<String>,
}

/// The databases of a site: one of countries or cities, and one of networks. Copies share them.
#[derive(Clone)]
pub struct Geo {
    places: Arc<[Reader<Vec<u8>>]>,
}

impl Geo {
    /// Takes databases as they are in their files.
    pub fn new(files: Vec<Vec<u8>>) -> Result<Self, String> {
        let read = |file| {
            Reader::from_source(file)
                .map_err(|error| format!("this is no MaxMind database: {error}"))
        };
        Ok(Self { places: files.into_iter().map(read).collect::<Result<_, _>>()? })
    }

    /// What is known of an address.
    pub fn place(&self, address: IpAddr) -> Location {
        let mut place = Location::default();
        for reader in &*self.places {
            let found = reader
                .lookup(address.to_canonical())
                .ok()
                .and_then(|found| found.decode::<Value>().ok().flatten());
            if let Some(found) = found {
                place.learn(&found);
            }
        }
        place
    }
}

impl std::fmt::Debug for Geo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Geo({} databases)", self.places.len())
    }
}

impl Location {
    fn learn(&mut self, found: &Value) {
        let text = |path: &str| match found.pointer(path)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        // The country where it is, not the one where it is registered.
        for (slot, path) in [
            (&mut self.country, "/country/iso_code"),
            (&mut self.country_name, "/country/names/en"),
            (&mut self.region, "/subdivisions/0/iso_code"),
            (&mut self.region_name, "/subdivisions/0/names/en"),
            (&mut self.city, "/city/names/en"),
            (&mut self.postal_code, "/postal/code"),
            (&mut self.metro_code, "/location/metro_code"),
            (&mut self.latitude, "/location/latitude"),
            (&mut self.longitude, "/location/longitude"),
            (&mut self.time_zone, "/location/time_zone"),
            (&mut self.asn, "/autonomous_system_number"),
        ] {
            *slot = text(path).or(slot.take());
        }
    }

    /// The value of a `CloudFront-Viewer-*` field, by the field's name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let known = match name {
            "cloudfront-viewer-country" => &self.country,
            "cloudfront-viewer-country-name" => &self.country_name,
            "cloudfront-viewer-country-region" => &self.region,
            "cloudfront-viewer-country-region-name" => &self.region_name,
            "cloudfront-viewer-city" => &self.city,
            "cloudfront-viewer-postal-code" => &self.postal_code,
            "cloudfront-viewer-metro-code" => &self.metro_code,
            "cloudfront-viewer-latitude" => &self.latitude,
            "cloudfront-viewer-longitude" => &self.longitude,
            "cloudfront-viewer-time-zone" => &self.time_zone,
            "cloudfront-viewer-asn" => &self.asn,
            _ => return None,
        };
        known.as_deref()
    }
}

/// The countries whose viewers may ask (CloudFront's geographic restriction). Where a viewer is
/// unknown, it may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GeoRestriction {
    Only(Vec<String>),
    AllBut(Vec<String>),
}

impl GeoRestriction {
    /// Says whether viewers of a country may ask.
    pub fn allows(&self, country: &str) -> bool {
        match self {
            Self::Only(list) => list.iter().any(|known| known == country),
            Self::AllBut(list) => !list.iter().any(|known| known == country),
        }
    }
}
