//! The routes of the local API as data, and the OpenAPI document that is made of them.
//!
//! The daemon's router is built from [`ROUTES`], so that a route that is not here is not served, and one that is here is. Used by
//! `examples/json_schemas.rs`, which writes `docs/spec/openapi.json`, and by the test that compares it with what is committed.

use crate::{
    API_PREFIX, AwayRequest, AwayView, CostView, DaemonView, DoctorView, EarningsQuery, EarningsView, ErrorDocument,
    GpusView, JobDetails, JobList, JobView, JobsQuery, LogView, LogsQuery, NodeView, OffersView, PageQuery,
    PlanRequest, PlanView, PricesRequest, ReceiptsView, RunRequest, SendPlanView, SendRequest, SendView,
    StopJobRequest, TakingRequest, TopUpReply, TopUpRequest, WalletView,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What a route does. The daemon has a handler for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Tells about the daemon.
    Daemon,
    /// Stops the daemon.
    StopDaemon,
    /// Lists offers.
    Offers,
    /// Lists models of GPU.
    Gpus,
    /// Plans a job.
    Plan,
    /// Lists jobs.
    Jobs,
    /// Starts a job.
    Run,
    /// Shows a job.
    Job,
    /// Shows all of a job.
    JobDetails,
    /// Follows a job.
    WatchJob,
    /// Reads a job's logs.
    Logs,
    /// Adds money to a job's leases.
    TopUp,
    /// Pays a job's leases ahead.
    Away,
    /// Ends a job.
    StopJob,
    /// Tells a job's bill.
    Cost,
    /// Lists closing records.
    Receipts,
    /// Lists closing records of one job or lease.
    ReceiptsOf,
    /// Tells about the node that sells.
    Node,
    /// Takes new leases or none.
    SetTaking,
    /// Asks other prices.
    SetPrices,
    /// Tells what the node earned.
    Earnings,
    /// Tells what the wallet has.
    Wallet,
    /// Sends money.
    Send,
    /// Tells what sending money would do.
    PlanSend,
    /// Checks what a lease needs.
    Doctor,
}

/// The two methods that are used: reading changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Changes something, or computes from a body.
    Post,
}

/// One route.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// What it does.
    pub operation: Operation,
    /// How it is called.
    pub method: Method,
    /// Where, behind [`API_PREFIX`]; a part in braces is given by the caller.
    pub path: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
}

const fn get(path: &'static str, operation: Operation, summary: &'static str) -> Route {
    Route {
        operation,
        method: Method::Get,
        path,
        summary,
    }
}

const fn post(path: &'static str, operation: Operation, summary: &'static str) -> Route {
    Route {
        operation,
        method: Method::Post,
        path,
        summary,
    }
}

/// Every route.
pub const ROUTES: &[Route] = &[
    get("/daemon", Operation::Daemon, "The daemon that answers"),
    post(
        "/stop",
        Operation::StopDaemon,
        "Ends the daemon; work that runs goes on",
    ),
    get(
        "/offers",
        Operation::Offers,
        "The offers that this node has heard, a page at a time",
    ),
    get(
        "/gpus",
        Operation::Gpus,
        "The models of GPU that are sold, and their prices",
    ),
    post(
        "/plan",
        Operation::Plan,
        "What would run where, for how much at most; spends nothing",
    ),
    get("/jobs", Operation::Jobs, "The jobs of this renter, a page at a time"),
    post("/jobs", Operation::Run, "Starts a job that was agreed to"),
    get("/jobs/{job}", Operation::Job, "One job"),
    get(
        "/jobs/{job}/details",
        Operation::JobDetails,
        "All that is known of the job",
    ),
    get(
        "/jobs/{job}/watch",
        Operation::WatchJob,
        "The job whenever it changed, until it is over",
    ),
    get("/jobs/{job}/logs", Operation::Logs, "What the job's processes wrote"),
    post(
        "/jobs/{job}/topup",
        Operation::TopUp,
        "Adds money to each running lease",
    ),
    post(
        "/jobs/{job}/away",
        Operation::Away,
        "Signs receipts ahead, for a renter that goes away",
    ),
    post(
        "/jobs/{job}/stop",
        Operation::StopJob,
        "Ends the job, settles its leases",
    ),
    get(
        "/jobs/{job}/cost",
        Operation::Cost,
        "Every coin and every transaction of the job, read from the chain",
    ),
    get(
        "/receipts",
        Operation::Receipts,
        "How leases ended and who signed that, a page at a time",
    ),
    get("/receipts/{of}", Operation::ReceiptsOf, "The same of one job or lease"),
    get(
        "/node",
        Operation::Node,
        "What this node sells, to whom, and why it may have no jobs",
    ),
    post(
        "/node/taking",
        Operation::SetTaking,
        "Takes new leases from now on, or none",
    ),
    post("/node/prices", Operation::SetPrices, "Asks other prices from now on"),
    get("/node/earnings", Operation::Earnings, "What this node earned"),
    get("/wallet", Operation::Wallet, "What the wallet has"),
    post("/wallet/send", Operation::Send, "Sends money, once for each name"),
    post(
        "/wallet/send/plan",
        Operation::PlanSend,
        "What sending that would do and cost; sends nothing",
    ),
    get("/doctor", Operation::Doctor, "What is not well, and how to mend it"),
];

/// What goes in and what comes out.
struct Shape {
    query: Option<Schema>,
    body: Option<Schema>,
    answer: Schema,
    /// Whether the answer is one document a line rather than one document.
    lines: bool,
}

/// An answer alone.
fn answer<A: JsonSchema>(schemas: &mut SchemaGenerator) -> Shape {
    Shape {
        query: None,
        body: None,
        answer: schemas.subschema_for::<A>(),
        lines: false,
    }
}

/// An answer to a body.
fn answer_to<B: JsonSchema, A: JsonSchema>(schemas: &mut SchemaGenerator) -> Shape {
    Shape {
        body: Some(schemas.subschema_for::<B>()),
        ..answer::<A>(schemas)
    }
}

/// An answer to what stands behind the question mark.
fn answer_of<Q: JsonSchema, A: JsonSchema>(schemas: &mut SchemaGenerator) -> Shape {
    Shape {
        query: Some(schemas.root_schema_for::<Q>()),
        ..answer::<A>(schemas)
    }
}

impl Operation {
    fn shape(self, schemas: &mut SchemaGenerator) -> Shape {
        match self {
            Self::Daemon | Self::StopDaemon => answer::<DaemonView>(schemas),
            Self::Offers => answer_of::<PageQuery, OffersView>(schemas),
            Self::Gpus => answer::<GpusView>(schemas),
            Self::Plan => answer_to::<PlanRequest, PlanView>(schemas),
            Self::Jobs => answer_of::<JobsQuery, JobList>(schemas),
            Self::Run => answer_to::<RunRequest, JobView>(schemas),
            Self::Job => answer::<JobView>(schemas),
            Self::JobDetails => answer::<JobDetails>(schemas),
            Self::WatchJob => Shape {
                lines: true,
                ..answer::<JobView>(schemas)
            },
            Self::Logs => Shape {
                lines: true,
                ..answer_of::<LogsQuery, LogView>(schemas)
            },
            Self::TopUp => answer_to::<TopUpRequest, TopUpReply>(schemas),
            Self::Away => answer_to::<AwayRequest, AwayView>(schemas),
            Self::StopJob => answer_to::<StopJobRequest, JobView>(schemas),
            Self::Cost => answer::<CostView>(schemas),
            Self::Receipts | Self::ReceiptsOf => answer_of::<PageQuery, ReceiptsView>(schemas),
            Self::Node => answer::<NodeView>(schemas),
            Self::SetTaking => answer_to::<TakingRequest, NodeView>(schemas),
            Self::SetPrices => answer_to::<PricesRequest, NodeView>(schemas),
            Self::Earnings => answer_of::<EarningsQuery, EarningsView>(schemas),
            Self::Wallet => answer::<WalletView>(schemas),
            Self::Send => answer_to::<SendRequest, SendView>(schemas),
            Self::PlanSend => answer_to::<SendRequest, SendPlanView>(schemas),
            Self::Doctor => answer::<DoctorView>(schemas),
        }
    }
}

/// The OpenAPI 3.1 document of the local API.
#[must_use]
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let refusal = schemas.subschema_for::<ErrorDocument>();
    let mut paths = BTreeMap::<&str, Map<String, Value>>::new();
    for route in ROUTES {
        let method = match route.method {
            Method::Get => "get",
            Method::Post => "post",
        };
        let operation = operation(route, &mut schemas, &refusal);
        paths
            .entry(route.path)
            .or_default()
            .insert(method.to_owned(), operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "GPUX local API",
            "version": "1",
            "description": "What commands on one machine ask of its daemon. It listens on the loopback; address and token are in the daemon's folder.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": format!("http://127.0.0.1{API_PREFIX}") }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas.take_definitions(true),
        },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator, refusal: &Schema) -> Value {
    let shape = route.operation.shape(schemas);
    let media = if shape.lines {
        "application/x-ndjson"
    } else {
        "application/json"
    };
    let refused = json!({
        "description": "Refused or failed; the code in it says why",
        "content": { "application/json": { "schema": refusal } },
    });
    let mut operation = Map::from_iter([
        ("operationId".to_owned(), json!(format!("{:?}", route.operation))),
        ("summary".to_owned(), json!(route.summary)),
        (
            "parameters".to_owned(),
            parameters(route.path, shape.query.as_ref()).into(),
        ),
        (
            "responses".to_owned(),
            json!({
                "200": { "description": "Done", "content": { media: { "schema": shape.answer } } },
                "4XX": refused,
                "5XX": refused,
            }),
        ),
    ]);
    if let Some(body) = shape.body {
        let body = json!({ "required": true, "content": { "application/json": { "schema": body } } });
        operation.insert("requestBody".to_owned(), body);
    }
    Value::Object(operation)
}

/// What stands in braces in the path, and the fields of the query.
fn parameters(path: &str, query: Option<&Schema>) -> Vec<Value> {
    let in_path = path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut parameters: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }))
        .collect();
    let fields = query.and_then(|query| query.get("properties")?.as_object());
    for (name, schema) in fields.into_iter().flatten() {
        let mut schema = schema.clone();
        let about = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        parameters.push(json!({ "name": name, "in": "query", "description": about, "schema": schema }));
    }
    parameters
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeSet, HashSet};

    #[test]
    fn every_operation_has_one_route() {
        let operations: HashSet<_> = ROUTES.iter().map(|route| route.operation).collect();
        // The last of them: behind its place is their number.
        let count = Operation::Doctor as usize + 1;
        assert_eq!((operations.len(), ROUTES.len()), (count, count));
    }

    #[test]
    fn every_reference_leads_to_a_schema_and_no_route_stands_twice() {
        let document = openapi();
        let known = document["components"]["schemas"].as_object().unwrap();
        let text = document.to_string();
        let references = text.split("\"$ref\":\"").skip(1);
        let mut seen = 0;
        for reference in references {
            let (path, _) = reference.split_once('"').unwrap();
            let name = path.strip_prefix("#/components/schemas/").unwrap();
            assert!(known.contains_key(name), "{name}");
            seen += 1;
        }
        assert!(seen > ROUTES.len(), "{seen}");
        let routes: BTreeSet<_> = ROUTES
            .iter()
            .map(|route| (route.path, route.method == Method::Get))
            .collect();
        assert_eq!(routes.len(), ROUTES.len());
        assert!(!text.contains("$defs"), "{text}");
    }
}
