//! Text XML becomes the very JSON of the same event; anything else an error that says where.

use proptest::prelude::*;
use serde_json::Value as Json;
use sluicegate_d365::xml::{Error, json_of_xml};
use sluicegate_d365::{Decimal, RemoteExecutionContext, map};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::as_xml::as_xml;
use crate::real_bodies::bodies;
use crate::{fixture, fixtures};

const UPDATE: &[u8] = include_bytes!("../../fixtures/xml/account-update.xml");
const ARRAYS: &str = "http://schemas.microsoft.com/2003/10/Serialization/Arrays";
const CONTRACTS: &str = "http://schemas.microsoft.com/xrm/2011/Contracts";

/// A context with these members.
fn context(members: &str) -> String {
    format!(
        "<RemoteExecutionContext xmlns=\"{CONTRACTS}\" xmlns:b=\"{CONTRACTS}\" \
         xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:x=\"http://www.w3.org/2001/XMLSchema\" \
         xmlns:s=\"http://schemas.microsoft.com/2003/10/Serialization/\" xmlns:r=\"{ARRAYS}\" \
         xmlns:c=\"http://schemas.datacontract.org/2004/07/System.Collections.Generic\" \
         xmlns:n=\"http://schemas.datacontract.org/2004/07/System\">{members}</RemoteExecutionContext>"
    )
}

/// A context with one parameter, whose value is this element.
fn parameter(value: &str) -> String {
    context(&format!(
        "<InputParameters><KeyValuePairOfstringanyType><c:key>k</c:key>{value}\
         </KeyValuePairOfstringanyType></InputParameters>"
    ))
}

fn json(xml: &str) -> String {
    String::from_utf8(json_of_xml(xml.as_bytes()).unwrap_or_else(|error| panic!("{error}: {xml}")))
        .expect("UTF-8")
}

/// What becomes of the value of a parameter.
#[track_caller]
fn assert_value(value: &str, expected: &str) {
    let found = json(&parameter(value));
    let expected = format!("{{\"InputParameters\":[{{\"key\":\"k\",\"value\":{expected}}}]}}");
    assert_eq!(found, expected, "{value}");
}

#[track_caller]
fn assert_error(xml: &str, expected: &str) {
    let error = json_of_xml(xml.as_bytes()).expect_err(xml).to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn an_update_is_byte_for_byte_the_json_of_the_same_event() {
    let found = String::from_utf8(json_of_xml(UPDATE).unwrap()).unwrap();
    let expected = String::from_utf8(fixture("account-update")).unwrap();
    assert_eq!(found, expected.trim_end());
    let context = RemoteExecutionContext::parse(found.as_bytes()).unwrap();
    let limit = context.money("creditlimit").unwrap();
    assert_eq!(limit.decimal(), Some(Decimal::new(75_000, 0)));
    assert!(context.changed("telephone1") && context.text("telephone1").is_none());
}

#[test]
fn every_body_of_ours_comes_back_and_is_mapped_the_same() {
    for name in fixtures() {
        // The one has values that .NET boxes in JSON only, the other is no context.
        if [
            "task-create-boxed",
            "fno-business-event",
            "fno-test-message",
        ]
        .contains(&name.as_str())
        {
            continue;
        }
        round(&name, &fixture(&name));
    }
}

#[test]
fn captured_bodies_come_back_and_are_mapped_the_same() {
    for (name, body) in bodies("dataverse-") {
        let mut context: Json = serde_json::from_slice(&body).expect(&name);
        let created = &mut context["OperationCreatedOn"];
        // One was written down by a tool that has dates in a form of its own.
        if let Ok(at) = OffsetDateTime::parse(created.as_str().unwrap_or_default(), &Rfc3339) {
            *created = format!("/Date({})/", at.unix_timestamp() * 1_000).into();
        }
        round(&name, context.to_string().as_bytes());
    }
}

fn round(name: &str, body: &[u8]) {
    let before: Json = serde_json::from_slice(body).expect(name);
    let xml = as_xml(&before);
    let found = json_of_xml(xml.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let after: Json = serde_json::from_slice(&found).expect(name);
    assert_eq!(after, before, "{name}");
    // Of some bodies the id is made of all their bytes, so those are to be laid out the same.
    let mapped = |body: &Json| map("contoso", body.to_string().as_bytes()).expect(name);
    assert_eq!(mapped(&after), mapped(&before), "{name}");
}

#[test]
fn each_type_of_a_value() {
    for (value, expected) in [
        ("<c:value i:nil='true'/>", "null"),
        ("<c:value i:nil='1'></c:value>", "null"),
        ("<c:value i:type='x:string'/>", "\"\""),
        (
            "<c:value i:type='x:string'> a &amp; <![CDATA[<b>]]>&#xD;&#x1;/\"é😀 </c:value>",
            "\" a & <b>\\u000d\\u0001\\/\\\"é😀 \"",
        ),
        ("<c:value i:type='x:boolean'> true </c:value>", "true"),
        ("<c:value i:type='x:boolean'>0</c:value>", "false"),
        (
            "<c:value i:type='x:int'>-2147483648</c:value>",
            "-2147483648",
        ),
        (
            "<c:value i:type='x:long'>9223372036854775807</c:value>",
            "9223372036854775807",
        ),
        (
            "<c:value i:type='x:decimal'>12345678901.09870</c:value>",
            "12345678901.09870",
        ),
        ("<c:value i:type='x:double'>1E+20</c:value>", "1E+20"),
        ("<c:value i:type='x:float'>-0.125</c:value>", "-0.125"),
        (
            "<c:value i:type='x:dateTime'>2024-05-01T10:00:00Z</c:value>",
            "\"\\/Date(1714557600000)\\/\"",
        ),
        (
            "<c:value i:type='s:guid'>5b0e7a54-11aa-4c1e-9b7e-0f6a2c9d1e01</c:value>",
            "\"5b0e7a54-11aa-4c1e-9b7e-0f6a2c9d1e01\"",
        ),
        ("<c:value i:type='s:char'>65</c:value>", "\"A\""),
        ("<c:value i:type='s:duration'>PT1H</c:value>", "\"PT1H\""),
        (
            "<c:value i:type='x:base64Binary'>AAH/ \n</c:value>",
            "[0,1,255]",
        ),
        ("<c:value i:type='x:anyType'/>", "{}"),
        ("<c:value/>", "{}"),
        ("<c:value i:type='b:EntityState'>Changed</c:value>", "2"),
        (
            "<c:value i:type='r:ArrayOfguid'><r:guid>a</r:guid></c:value>",
            "[\"a\"]",
        ),
        (
            "<c:value i:type='r:ArrayOfint'><r:int>1</r:int><r:int>2</r:int></c:value>",
            "[1,2]",
        ),
        (
            "<c:value i:type='r:ArrayOfArrayOfstring'><r:ArrayOfstring><r:string>1</r:string>\
          </r:ArrayOfstring><r:ArrayOfstring/></c:value>",
            "[[\"1\"],[]]",
        ),
        (
            "<c:value i:type='r:ArrayOfanyType'><r:anyType i:type='x:int'>1</r:anyType>\
          <r:anyType i:nil='true'/></c:value>",
            "[1,null]",
        ),
        (
            "<c:value i:type='r:ArrayOfKeyValueOfstringanyType'><r:KeyValueOfstringanyType>\
          <r:Key>a</r:Key><r:Value i:type='x:int'>1</r:Value></r:KeyValueOfstringanyType></c:value>",
            "[{\"__type\":\"KeyValuePairOfstringanyType:#System.Collections.Generic\",\"key\":\"a\",\"value\":1}]",
        ),
        (
            "<c:value i:type='n:DateTimeOffset'><n:DateTime>2024-05-01T10:00:00Z</n:DateTime>\
          <n:OffsetMinutes>120</n:OffsetMinutes></c:value>",
            "{\"__type\":\"DateTimeOffset:#System\",\"DateTime\":\"\\/Date(1714557600000)\\/\",\"OffsetMinutes\":120}",
        ),
    ] {
        assert_value(value, expected);
    }
}

#[test]
fn each_class_of_a_value() {
    let tag = |name: &str| {
        format!("\"__type\":\"{name}:http:\\/\\/schemas.microsoft.com\\/xrm\\/2011\\/Contracts\"")
    };
    for (value, expected) in [
        (
            "<c:value i:type='Money'><Value>1.50</Value></c:value>",
            format!("{{{},\"Value\":1.50}}", tag("Money")),
        ),
        (
            "<c:value i:type='b:OptionSetValueCollection'><b:OptionSetValue><b:Value>7</b:Value>\
          </b:OptionSetValue></c:value>",
            format!("[{{{},\"Value\":7}}]", tag("OptionSetValue")),
        ),
        (
            "<c:value i:type='b:ArrayOfEntityReference'><b:EntityReference><b:Id>a</b:Id>\
          <b:KeyAttributes><b:KeyValuePairOfstringanyType><c:key>no</c:key>\
          <c:value i:type='x:int'>3</c:value></b:KeyValuePairOfstringanyType></b:KeyAttributes>\
          <b:Name i:nil='true'/></b:EntityReference></c:value>",
            format!(
                "[{{{},\"Id\":\"a\",\"KeyAttributes\":[{{\"key\":\"no\",\"value\":3}}],\"Name\":null}}]",
                tag("EntityReference")
            ),
        ),
        (
            "<c:value i:type='b:ArrayOfEntity'><b:Entity><b:Attributes/><b:LogicalName>activityparty\
          </b:LogicalName></b:Entity></c:value>",
            format!(
                "[{{{},\"Attributes\":[],\"LogicalName\":\"activityparty\"}}]",
                tag("Entity")
            ),
        ),
        (
            "<c:value i:type='b:AliasedValue'><b:AttributeLogicalName>a</b:AttributeLogicalName>\
          <b:Value i:type='b:Money'><b:Value>2</b:Value></b:Value></c:value>",
            format!(
                "{{{},\"AttributeLogicalName\":\"a\",\"Value\":{{{},\"Value\":2}}}}",
                tag("AliasedValue"),
                tag("Money")
            ),
        ),
        (
            "<c:value i:type='b:Relationship'><b:PrimaryEntityRole>Referenced</b:PrimaryEntityRole>\
          <b:SchemaName>a_b</b:SchemaName></c:value>",
            format!(
                "{{{},\"PrimaryEntityRole\":1,\"SchemaName\":\"a_b\"}}",
                tag("Relationship")
            ),
        ),
        (
            "<c:value i:type='b:EntityCollection'><b:Entities><b:Entity><b:Attributes/></b:Entity></b:Entities>\
          <b:MoreRecords>false</b:MoreRecords><b:TotalRecordCount>-1</b:TotalRecordCount></c:value>",
            format!(
                "{{{},\"Entities\":[{{\"Attributes\":[]}}],\"MoreRecords\":false,\"TotalRecordCount\":-1}}",
                tag("EntityCollection")
            ),
        ),
        (
            "<c:value i:type='b:Entity'><b:RelatedEntities>\
          <b:KeyValuePairOfRelationshipEntityCollectionX_PsK4FkN>\
          <c:key><b:PrimaryEntityRole i:nil='true'/></c:key><c:value><b:Entities/></c:value>\
          </b:KeyValuePairOfRelationshipEntityCollectionX_PsK4FkN></b:RelatedEntities></c:value>",
            format!(
                "{{{},\"RelatedEntities\":[{{\"key\":{{\"PrimaryEntityRole\":null}},\"value\":{{\"Entities\":[]}}}}]}}",
                tag("Entity")
            ),
        ),
        (
            "<c:value i:type='b:Label'><b:LocalizedLabels><b:LocalizedLabel><b:Label>x</b:Label>\
          <b:LanguageCode>1033</b:LanguageCode></b:LocalizedLabel></b:LocalizedLabels></c:value>",
            format!(
                "{{{},\"LocalizedLabels\":[{{\"Label\":\"x\",\"LanguageCode\":1033}}]}}",
                tag("Label")
            ),
        ),
        (
            "<c:value i:type='b:QueryExpression'><b:ColumnSet><b:AllColumns>false</b:AllColumns>\
          <b:Columns><r:string>a</r:string></b:Columns></b:ColumnSet><b:Criteria><b:Conditions>\
          <b:ConditionExpression><b:Operator>NotNull</b:Operator><b:Values><r:anyType i:type='x:int'>1</r:anyType>\
          </b:Values></b:ConditionExpression></b:Conditions></b:Criteria></c:value>",
            format!(
                "{{{},\"ColumnSet\":{{\"AllColumns\":false,\"Columns\":[\"a\"]}},\"Criteria\":{{\"Conditions\":\
                  [{{\"Operator\":13,\"Values\":[1]}}]}}}}",
                tag("QueryExpression")
            ),
        ),
    ] {
        assert_value(value, &expected);
    }
}

#[test]
fn what_is_unknown_is_kept_as_far_as_it_says_what_it_is() {
    let foreign = "\"__type\":\"Thing:urn:t\"";
    for (value, expected) in [
        (
            "<c:value xmlns:t='urn:t' i:type='t:Thing'><t:A>1</t:A><t:B i:nil='true'/><t:C><t:D/></t:C>\
          <t:E><t:F>1</t:F><t:F>2</t:F></t:E><t:G i:type='x:int'>3</t:G></c:value>",
            format!(
                "{{{foreign},\"A\":\"1\",\"B\":null,\"C\":{{\"D\":\"\"}},\"E\":[\"1\",\"2\"],\"G\":3}}"
            ),
        ),
        (
            "<c:value xmlns:t='urn:t' i:type='t:Thing'/>",
            format!("{{{foreign}}}"),
        ),
        (
            "<c:value xmlns:t='urn:t' i:type='t:Thing'>Red</c:value>",
            "\"Red\"".to_owned(),
        ),
    ] {
        assert_value(value, &expected);
    }
    let xml = context("<Depth>1</Depth><ComesLater>x</ComesLater><Stage>40</Stage>");
    assert_eq!(
        json(&xml),
        "{\"Depth\":1,\"ComesLater\":\"x\",\"Stage\":40}"
    );
}

#[test]
fn an_envelope_is_taken_off() {
    let inside = context("<Depth>1</Depth>");
    for namespace in [
        "http://schemas.xmlsoap.org/soap/envelope/",
        "http://www.w3.org/2003/05/soap-envelope",
    ] {
        let envelope = |body: &str| {
            format!(
                "<s:Envelope xmlns:s='{namespace}'><s:Header/><s:Body>{body}</s:Body></s:Envelope>"
            )
        };
        assert_eq!(json(&envelope(&inside)), "{\"Depth\":1}");
        assert_error(&envelope("<Other/>"), "the XML is Envelope of");
        assert_error(&envelope(""), "the XML is Envelope of");
    }
    assert_error("<Envelope/>", "the XML is Envelope of");
}

#[test]
fn layout_and_marks_make_no_difference() {
    let plain = context("<Depth>1</Depth><PostEntityImages/>");
    let expected = "{\"Depth\":1,\"PostEntityImages\":[]}";
    assert_eq!(json(&plain), expected);
    let spread = context(
        "\n <!-- --> <Depth>\n 1 </Depth>\t<?p i?><PostEntityImages>\r\n</PostEntityImages> ",
    );
    assert_eq!(json(&spread), expected);
    assert_eq!(
        json(&format!("\u{feff}<?xml version=\"1.0\"?>\r\n{plain}\n")),
        expected
    );
}

#[test]
fn dates_without_a_zone_are_utc_for_who_reads_the_event() {
    let xml = context(
        "<MessageName>Update</MessageName><Mode>1</Mode>\
        <OperationCreatedOn>2024-05-01T10:00:00</OperationCreatedOn>",
    );
    let context = RemoteExecutionContext::parse(json(&xml).as_bytes()).unwrap();
    assert_eq!(
        context.operation_time().unwrap().rfc3339(),
        "2024-05-01T10:00:00Z"
    );
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let ns = format!("xmlns=\"{CONTRACTS}\"");
    for (xml, expected) in [
        (String::new(), "before the root has ended"),
        (
            "<RemoteExecutionContext xmlns=\"x\"/>".to_owned(),
            "of the namespace \"x\"",
        ),
        (
            format!("<Entity {ns}/>"),
            "the XML is Entity of the namespace",
        ),
        (
            context("<Depth>one</Depth>"),
            "Depth is \"one\"; accepted is a number",
        ),
        (context("<Depth>NaN</Depth>"), "Depth is \"NaN\""),
        (context("<Depth>01</Depth>"), "Depth is \"01\""),
        (context("<Depth><a/></Depth>"), "Depth is one element"),
        (context("<Depth/><Depth/>"), "Depth is \"\""),
        (
            context("<Stage>1</Stage><Stage>2</Stage>"),
            "each member once",
        ),
        (
            context("<OperationCreatedOn>soon</OperationCreatedOn>"),
            "accepted is a date",
        ),
        (
            context("<OwningExtension>text</OwningExtension>"),
            "elements without text",
        ),
        (
            context("<IsInTransaction>yes</IsInTransaction>"),
            "true or false",
        ),
        (
            context("<PreEntityImages><a/></PreEntityImages>"),
            "PreEntityImages/a[0] is \"\"; accepted is a key",
        ),
        (
            parameter("<c:value>1</c:value>"),
            "InputParameters/KeyValuePairOfstringanyType[0]/value is \"1\"; accepted is an element with i:type",
        ),
        (
            parameter("<c:value i:type='q:int'>1</c:value>"),
            "the prefix q stands for no namespace",
        ),
        (
            parameter("<c:value i:type='x:base64Binary'>?</c:value>"),
            "base64",
        ),
        (
            parameter("<c:value i:type='s:char'>55296</c:value>"),
            "the number of a character",
        ),
        (
            parameter("<c:value s:Ref='i1'/>"),
            "a reference to another element",
        ),
        (context("<a>"), "byte"),
        (format!("{}<b/>", context("")), "a second root"),
        (format!("{} x", context("")), "beside the root"),
        (context("&lol;"), "the entity lol is not known"),
        (
            format!("<!DOCTYPE a [<!ENTITY lol \"lol\">]>{}", context("&lol;")),
            "a document type",
        ),
    ] {
        assert_error(&xml, expected);
    }
    let error = json_of_xml(b"<a>\xff</a>").unwrap_err();
    assert_eq!(error, Error::Encoding { at: 3 });
}

#[test]
fn everything_is_bounded() {
    let nested = |levels: usize| {
        context(&format!(
            "{}{}",
            "<a>".repeat(levels),
            "</a>".repeat(levels)
        ))
    };
    json(&nested(119));
    assert_error(&nested(120), "more than 120 levels");
    assert_error(&nested(100_000), "more than 120 levels");
    assert_error(
        &context(&"<a/>".repeat(200_001)),
        "more than 200000 elements",
    );
    assert_error(&" ".repeat(4 * 1024 * 1024 + 1), "4194305 bytes long");
    let attributes: String = (0..33).map(|i| format!(" a{i}=''")).collect();
    assert_error(
        &context(&format!("<a{attributes}/>")),
        "more than 32 attributes",
    );
    let many: String = (0..200_000).map(|i| format!(" a{i}=''")).collect();
    assert_error(&context(&format!("<a{many}/>")), "more than 32 attributes");
    let long = "x".repeat(201);
    assert_error(&context(&format!("<{long}/>")), "a name of 201 bytes");
    assert_error(
        &parameter(&format!("<c:value xmlns:l='{long}' i:type='l:a'/>")),
        "a name of 201 bytes",
    );
    let namespaces: String = (0..1_000)
        .map(|i| format!(" xmlns:p{i}='urn:{i}'"))
        .collect();
    assert!(json_of_xml(context(&format!("<a{namespaces}/>")).as_bytes()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in ".{0,200}") {
        let _ = json_of_xml(&bytes);
        let _ = json_of_xml(text.as_bytes());
        let _ = json_of_xml(parameter(&text).as_bytes());
    }

    #[test]
    fn a_body_with_bytes_changed_is_json_or_an_error(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut body = UPDATE.to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut body) = byte;
        }
        if is_cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(json) = json_of_xml(&body) {
            let read: Result<Json, _> = serde_json::from_slice(&json);
            prop_assert!(read.is_ok(), "{}", String::from_utf8_lossy(&json));
        }
    }

    #[test]
    fn parts_in_any_order_are_json_or_an_error(
        parts in prop::collection::vec(prop::sample::select(&[
            "<c:key>", "</c:key>", "<c:value i:type='Money'>", "<c:value i:type='x:int'>", "</c:value>",
            "<Value>", "</Value>", "<c:value i:nil='true'/>", "<Attributes>", "</Attributes>", "1", "&#x41;",
            "<c:value i:type='b:Entity'>", "<KeyValuePairOfstringanyType>", "</KeyValuePairOfstringanyType>",
            "<c:value i:type='r:ArrayOfguid'/>", "<![CDATA[", "]]>", "<!--", "-->", "<c:value i:type='b:No'>",
        ][..]), 0..14),
    ) {
        if let Ok(json) = json_of_xml(parameter(&parts.concat()).as_bytes()) {
            let read: Result<Json, _> = serde_json::from_slice(&json);
            prop_assert!(read.is_ok(), "{}", String::from_utf8_lossy(&json));
        }
    }

    #[test]
    fn every_text_comes_back(text in any::<String>()) {
        let escaped: String = text.chars().map(|c| format!("&#{};", u32::from(c))).collect();
        let xml = parameter(&format!("<c:value i:type='x:string'>{escaped}</c:value>"));
        match json_of_xml(xml.as_bytes()) {
            Ok(json) => {
                let json: Json = serde_json::from_slice(&json).unwrap();
                prop_assert_eq!(json["InputParameters"][0]["value"].as_str(), Some(text.as_str()));
            }
            // No XML has that.
            Err(error) => prop_assert!(text.contains('\0'), "{}", error),
        }
    }
}
