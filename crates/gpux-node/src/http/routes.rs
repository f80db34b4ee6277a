//! What each route answers.

use super::Refusal;
use crate::{node::Node, page::Page, provider::owner};
use axum::{
    Json,
    extract::{
        Path, Query, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::StatusCode,
    response::{IntoResponse, Response},
};
use gpux_api::{
    AwayView, CostView, DaemonView, DoctorView, EarningsQuery, EarningsView, ErrorBody, ErrorCode, ErrorDocument,
    GpusView, JobDetails, JobList, JobView, JobsQuery, NodeView, OffersView, PageQuery, PlanView, PricesRequest,
    ReceiptsView, SendPlanView, SendView, StopJobRequest, TakingRequest, TopUpReply, TopUpRequest, WalletView,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::sync::Arc;

type Answer<T> = Result<Json<T>, Refusal>;
/// A body. It must be an object: a struct could otherwise be read from a list of its fields as well.
type Body = Result<Json<Map<String, Value>>, JsonRejection>;
/// What stands behind the question mark.
pub(super) type Wanted<T> = Result<Query<T>, QueryRejection>;

pub(super) fn query<T>(query: Wanted<T>) -> Result<T, Refusal> {
    query.map(|Query(value)| value).map_err(|error| {
        Refusal(ErrorBody::new(
            ErrorCode::InvalidInput,
            format!("reading what is asked for: {}", error.body_text()),
        ))
    })
}

fn page(wanted: Wanted<PageQuery>) -> Result<Page, Refusal> {
    Ok(Page::of(query(wanted)?)?)
}

fn body<T: DeserializeOwned>(body: Body) -> Result<T, Refusal> {
    let refusal = |why: &str| {
        let message = format!("reading the request: {why}");
        Refusal(ErrorBody::new(ErrorCode::InvalidInput, message))
    };
    let Json(fields) = body.map_err(|error| refusal(&error.body_text()))?;
    serde_json::from_value(Value::Object(fields)).map_err(|error| refusal(&error.to_string()))
}

pub(super) async fn nothing_here() -> Refusal {
    Refusal(ErrorBody::new(
        ErrorCode::NotFound,
        "calling the daemon: there is no such route in this version",
    ))
}

pub(super) async fn other_method() -> Response {
    let body = ErrorBody::new(
        ErrorCode::InvalidInput,
        "calling the daemon: this route is called with another method",
    );
    (StatusCode::METHOD_NOT_ALLOWED, Json(ErrorDocument::from(body))).into_response()
}

pub(super) async fn daemon(State(node): State<Arc<Node>>) -> Json<DaemonView> {
    Json(node.daemon_view())
}

pub(super) async fn stop_daemon(State(node): State<Arc<Node>>) -> Json<DaemonView> {
    let view = node.daemon_view();
    node.cancel.cancel();
    Json(view)
}

pub(super) async fn offers(State(node): State<Arc<Node>>, wanted: Wanted<PageQuery>) -> Answer<OffersView> {
    let page = page(wanted)?;
    Ok(Json(node.market.view(node.clock.now(), &page)?))
}

pub(super) async fn gpus(State(node): State<Arc<Node>>) -> Answer<GpusView> {
    Ok(Json(crate::market::gpus(&node).await?))
}

pub(super) async fn plan(State(node): State<Arc<Node>>, request: Body) -> Answer<PlanView> {
    let planned = crate::renter::plan(&node, body(request)?).await?;
    Ok(Json(planned.view))
}

pub(super) async fn run(State(node): State<Arc<Node>>, request: Body) -> Answer<JobView> {
    Ok(Json(crate::renter::start(&node, body(request)?).await?))
}

pub(super) async fn jobs(State(node): State<Arc<Node>>, wanted: Wanted<JobsQuery>) -> Answer<JobList> {
    let JobsQuery { limit, after, going_on } = query(wanted)?;
    let page = Page::of(PageQuery { limit, after })?;
    Ok(Json(node.renter.page(&page, going_on)?))
}

pub(super) async fn job(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<JobView> {
    Ok(Json(node.renter.find(&name)?.view()))
}

pub(super) async fn details(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<JobDetails> {
    Ok(Json(crate::renter::details(&node.renter.find(&name)?)))
}

pub(super) async fn top_up(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    request: Body,
) -> Answer<TopUpReply> {
    let request: TopUpRequest = body(request)?;
    Ok(Json(
        crate::renter::top_up(&node, &node.renter.find(&name)?, &request).await?,
    ))
}

pub(super) async fn away(State(node): State<Arc<Node>>, Path(name): Path<String>, request: Body) -> Answer<AwayView> {
    let request = body(request)?;
    Ok(Json(crate::renter::away(&node.renter.find(&name)?, request).await?))
}

pub(super) async fn stop_job(
    State(node): State<Arc<Node>>,
    Path(name): Path<String>,
    request: Body,
) -> Answer<JobView> {
    let request: StopJobRequest = body(request)?;
    Ok(Json(
        crate::renter::stop(&node.renter.find(&name)?, request.reason).await?,
    ))
}

pub(super) async fn cost(State(node): State<Arc<Node>>, Path(name): Path<String>) -> Answer<CostView> {
    Ok(Json(crate::renter::cost(&node, &node.renter.find(&name)?).await?))
}

pub(super) async fn receipts(State(node): State<Arc<Node>>, wanted: Wanted<PageQuery>) -> Answer<ReceiptsView> {
    Ok(Json(receipts_for(&node, None, page(wanted)?).await?))
}

pub(super) async fn receipts_of(
    State(node): State<Arc<Node>>,
    Path(of): Path<String>,
    wanted: Wanted<PageQuery>,
) -> Answer<ReceiptsView> {
    Ok(Json(receipts_for(&node, Some(of), page(wanted)?).await?))
}

async fn receipts_for(node: &Arc<Node>, of: Option<String>, page: Page) -> Result<ReceiptsView, ErrorBody> {
    let found = node.apart("showing receipts", move |node| {
        crate::records::receipts(node, of.as_deref(), &page)
    });
    found.await
}

pub(super) async fn owned_node(State(node): State<Arc<Node>>) -> Answer<NodeView> {
    Ok(Json(node.apart("showing this node", owner::view).await?))
}

pub(super) async fn set_taking(State(node): State<Arc<Node>>, request: Body) -> Answer<NodeView> {
    let taking = body::<TakingRequest>(request)?.taking;
    let set = node.apart("deciding about new leases", move |node| owner::set_taking(node, taking));
    Ok(Json(set.await?))
}

pub(super) async fn set_prices(State(node): State<Arc<Node>>, request: Body) -> Answer<NodeView> {
    let prices = body::<PricesRequest>(request)?;
    let set = node.apart("changing prices", move |node| owner::set_prices(node, &prices));
    Ok(Json(set.await?))
}

pub(super) async fn earnings(State(node): State<Arc<Node>>, wanted: Wanted<EarningsQuery>) -> Answer<EarningsView> {
    let since = query(wanted)?.since;
    Ok(Json(crate::records::earnings(&node, since).await?))
}

pub(super) async fn wallet(State(node): State<Arc<Node>>) -> Answer<WalletView> {
    Ok(Json(node.wallet_view().await?))
}

pub(super) async fn plan_send(State(node): State<Arc<Node>>, request: Body) -> Answer<SendPlanView> {
    Ok(Json(crate::send::plan(&node, body(request)?).await?))
}

pub(super) async fn send(State(node): State<Arc<Node>>, request: Body) -> Answer<SendView> {
    Ok(Json(crate::send::send(&node, body(request)?).await?))
}

pub(super) async fn doctor(State(node): State<Arc<Node>>) -> Json<DoctorView> {
    Json(crate::doctor::examine(&node).await)
}
