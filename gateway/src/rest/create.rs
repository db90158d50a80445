//! `POST /session/create`: a session id with the requested properties. Nothing is stored; the id
//! contains them.

use std::{collections::HashMap, net::Ipv4Addr, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequestParts as _, Request, State},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use signalbox_protocol::{MediaMode, ProjectKey, SessionId, json};
use time::OffsetDateTime;

use super::{auth::Caller, body, error::Error};
use crate::{clock::unix_time, headers::has_media_type, services::Services};

pub(super) async fn create(State(services): State<Arc<Services>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    // Three of the vendor's SDKs request JSON, and three parse XML.
    let json = has_media_type(&parts.headers, header::ACCEPT, "application/json");
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

struct Created {
    session: SessionId,
    at: OffsetDateTime,
}

async fn make(services: &Services, caller: &Caller, body: Body) -> Result<Created, Error> {
    let body = body::read(body, services.policy().timeouts.hello()).await?;
    let fields = fields(&body)?;
    // Some SDKs write the name of an unset option without a value, or with the word null.
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
        tracing::error!(%error, "the OS random generator failed");
        Error::Internal
    })?;
    let created_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let session = SessionId::mint(&caller.key, media, location, created_ms, random);
    let seconds = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let at = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Ok(Created { session, at })
}

/// Names of a session's options. All others concern media and have no effect.
const LOCATION: &str = "location";
const P2P_PREFERENCE: &str = "p2p.preference";

/// The fields of a body, recognised by its content: one SDK labels its form as JSON.
fn fields(body: &str) -> Result<HashMap<String, String>, Error> {
    // Forms escape these characters. (Read as a form, an array would be one unknown field, and its
    // options would be ignored.)
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
            return Err(Error::invalid("'location' or 'p2p.preference' is repeated"));
        }
    }
    Ok(fields)
}

impl Created {
    /// The vendor's notation of times: `Fri Nov 18 15:50:36 UTC 2016`.
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
        // Ids, keys and dates contain no characters that XML escapes.
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

/// The vendor's object, with the project in the members of both SDK generations.
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
    fn dates_have_the_vendors_notation() {
        let session = SessionId::mint(&"1".parse().unwrap(), MediaMode::Routed, None, 0, [0; 24]);
        let at = OffsetDateTime::from_unix_timestamp(1_479_484_236).unwrap();
        assert_eq!(Created { session, at }.date(), "Fri Nov 18 15:50:36 UTC 2016");
    }

    #[test]
    fn forms_and_json_are_recognised_by_content() {
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
        assert!(fields("x=1&x=2").is_ok(), "options without effect may be repeated");
    }
}
