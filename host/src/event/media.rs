//! What a `datacontenttype` says about data.

use mediatype::MediaType;

/// A type and a subtype of their own; `*/*` is a range, which only an Accept header has.
pub(crate) fn is_media_type(value: &str) -> bool {
    MediaType::parse(value)
        .is_ok_and(|media| media.ty.as_str() != "*" && media.subty.as_str() != "*")
}

/// JSON by the rule of the JSON event format, section 3.1: subtype or suffix `json`.
pub(crate) fn is_json(value: &str) -> bool {
    MediaType::parse(value).is_ok_and(|media| format_of(&media).eq_ignore_ascii_case("json"))
}

/// Text whose bytes are UTF-8 when they look like it: `text/*` and XML, unless they name
/// another charset.
pub(crate) fn is_text(value: &str) -> bool {
    let Ok(media) = MediaType::parse(value) else {
        return false;
    };
    let is_utf8 = media.params.iter().all(|(name, value)| {
        !name.as_str().eq_ignore_ascii_case("charset")
            || value.unquoted_str().eq_ignore_ascii_case("utf-8")
    });
    let is_text = media.ty.as_str().eq_ignore_ascii_case("text");
    is_utf8 && (is_text || format_of(&media).eq_ignore_ascii_case("xml"))
}

fn format_of<'a>(media: &MediaType<'a>) -> &'a str {
    media.suffix.unwrap_or(media.subty).as_str()
}
