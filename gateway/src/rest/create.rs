//! `POST /session/create`: a session id with the properties that were asked for. Nothing is
//! stored; the id itself holds them.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequestParts as _, Request, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use signalbox_protocol::{MediaMode, ProjectKey, SessionId, json};
use time::OffsetDateTime;

use super::{auth::Caller, body, error::Error};
use crate::{clock::unix_time, services::Services};

pub(super) async fn create(State(services): State<Arc<Services>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    // Of the vendor's SDKs three ask for JSON and three parse XML.
    let json = wants_json(&parts.headers);
    let made = async {
        let caller = Caller::from_request_parts(&mut parts, &services).await?;
        let created = make(&services, &caller, body).await?;
        Ok(if json { created.into_json(&caller) } else { created.into_xml(&caller) })
    };
    made.await.unwrap_or_else(
        |error: Error| {
            if json { error.into_response() } else { error.into_xml() }
        },
    )
}

fn wants_json(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|range| {
            let media_type = range.split(';').next().unwrap_or_default();
            media_type.trim().eq_ignore_ascii_case("application/json")
        })
    })
}

struct Created {
    session: SessionId,
    at: OffsetDateTime,
}

async fn make(services: &Services, caller: &Caller, body: Body) -> Result<Created, Error> {
    let body = body::read(body, services.policy().timeouts.hello()).await?;
    let fields = fields(&body)?;
    // Some SDKs write the name of what is not set, or the word null.
    let field = |name: &str| {
        fields.get(name).map(String::as_str).filter(|value| !value.is_empty() && *value != "null")
    };
    let location: Option<Ipv4Addr> = field(LOCATION)
        .map(|location| {
            location.parse().map_err(|_| Error::invalid("Invalid location: an IPv4 address"))
        })
        .transpose()?;
    let media = match field(P2P_PREFERENCE) {
        Some("enabled") => MediaMode::Relayed,
        Some("disabled") | None => MediaMode::Routed,
        Some(_) => return Err(Error::invalid("Invalid p2p.preference: enabled or disabled")),
    };
    let now = unix_time();
    let mut random = [0; 24];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "the system has no random numbers");
        Error::Internal
    })?;
    let created_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let session = SessionId::mint(&caller.key, media, location, created_ms, random);
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Ok(Created { session, at })
}

/// What the options of a session are called. All others are about media and have no effect.
const LOCATION: &str = "location";
const P2P_PREFERENCE: &str = "p2p.preference";

/// The fields of a body, judged by what it is: one SDK labels its form as JSON.
fn fields(body: &str) -> Result<HashMap<String, String>, Error> {
    // No form begins like this, as these characters are escaped there. (As a form, an array would
    // be one field that nobody knows, and what it asks for would be passed over.)
    if !body.trim_ascii_start().starts_with(['{', '[', '"']) {
        return form(body);
    }
    let object: HashMap<String, Value> = json::from_str(body).map_err(|_| {
        Error::invalid("The body is neither a form nor a JSON object with each member once")
    })?;
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(object.into_iter().map(|(name, value)| (name, text(value))).collect())
}

fn form(body: &str) -> Result<HashMap<String, String>, Error> {
    let mut fields = HashMap::new();
    for (name, value) in form_urlencoded::parse(body.as_bytes()).into_owned() {
        let read = [LOCATION, P2P_PREFERENCE].contains(&name.as_str());
        if fields.insert(name, value).is_some() && read {
            return Err(Error::invalid("'location' or 'p2p.preference' is there twice"));
        }
    }
    Ok(fields)
}

impl Created {
    /// As the vendor writes times: `Fri Nov 18 15:50:36 UTC 2016`.
    fn date(&self) -> String {
        let at = self.at;
        format!(
            "{:.3} {:.3} {:02} {:02}:{:02}:{:02} UTC {}",
            at.weekday().to_string(),
            at.month().to_string(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.year()
        )
    }

    fn into_json(self, caller: &Caller) -> Response {
        let session = Json {
            session_id: &self.session,
            project_id: &caller.key,
            partner_id: &caller.key,
            application_id: caller.is_application.then_some(&caller.key),
            create_dt: self.date(),
            media_server_url: "",
        };
        let body = serde_json::to_string(&[session]).unwrap_or_default();
        ([(header::CONTENT_TYPE, "application/json")], body).into_response()
    }

    fn into_xml(self, caller: &Caller) -> Response {
        // Ids, keys and dates have no character that XML would have to escape.
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><sessions><Session>\
             <session_id>{}</session_id><partner_id>{}</partner_id><create_dt>{}</create_dt>\
             </Session></sessions>",
            self.session,
            caller.key,
            self.date()
        );
        ([(header::CONTENT_TYPE, "text/xml")], body).into_response()
    }
}

/// The vendor's object. SDKs of both generations find the project where they look for it.
#[derive(Serialize)]
struct Json<'a> {
    session_id: &'a SessionId,
    project_id: &'a ProjectKey,
    partner_id: &'a ProjectKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    application_id: Option<&'a ProjectKey>,
    create_dt: String,
    media_server_url: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_the_vendor_writes_them() {
        let session = SessionId::mint(&"1".parse().unwrap(), MediaMode::Routed, None, 0, [0; 24]);
        let at = OffsetDateTime::from_unix_timestamp(1_479_484_236).unwrap();
        assert_eq!(Created { session, at }.date(), "Fri Nov 18 15:50:36 UTC 2016");
    }

    #[test]
    fn a_body_is_what_it_is() {
        for body in ["a=1&b=%20x", "{\"a\":1,\"b\":\" x\"}", "  {\"a\":\"1\",\"b\":\" x\"}"] {
            let fields = fields(body).unwrap();
            assert_eq!((fields["a"].as_str(), fields["b"].as_str()), ("1", " x"), "{body}");
        }
        assert!(fields("").unwrap().is_empty());
        for body in [
            "{\"a\":",
            "[\"a\"]",
            "\"a\"",
            "{\"a\":1,\"a\":1}",
            "{\"x\":{\"a\":1,\"a\":1}}",
            "p2p.preference=enabled&p2p.preference=disabled",
            "location=&location=",
        ] {
            assert!(fields(body).is_err(), "{body}");
        }
        assert!(fields("x=1&x=2").is_ok(), "what has no effect may be there twice");
    }
}
