//! What GPUs are sold, by model and region, and for how much. It looks at every offer, so it works on a copy of the book, on a
//! thread that may take its time.

use crate::{fault::internal, node::Node};
use gpux_api::{ErrorBody, GpuModelView, GpuRegionView, GpusView};
use gpux_market::{ModelStats, OfferBook, model_stats};
use gpux_types::{Address, Token};
use std::collections::BTreeMap;

/// Every model of GPU that is sold for the token that this node pays in.
pub(crate) async fn gpus(node: &Node) -> Result<GpusView, ErrorBody> {
    let copy = node.market.copy(node.clock.now());
    let paid_in = node.chain.token();
    let (token, address) = (paid_in.token.clone(), paid_in.address);
    let counted = crate::blocking(move || Ok(count(&copy(), token, address)));
    counted.await.map_err(|error| internal("counting GPUs", &error))
}

fn count(book: &OfferBook, token: Token, address: Address) -> GpusView {
    let mut regions = regions(book, address);
    let models = model_stats(book, address).into_iter().map(|stats| {
        let regions = regions.remove(&stats.model.to_string()).unwrap_or_default();
        model(stats, regions.into_values().collect())
    });
    GpusView {
        schema: "gpux.gpus/v1".into(),
        token,
        models: models.collect(),
    }
}

fn model(stats: ModelStats, regions: Vec<GpuRegionView>) -> GpuModelView {
    GpuModelView {
        model: stats.model.to_string(),
        nodes: u32::try_from(stats.nodes).unwrap_or(u32::MAX),
        total: stats.total,
        free: stats.free,
        largest: stats.largest,
        p10: stats.prices.p10,
        p50: stats.prices.p50,
        p90: stats.prices.p90,
        regions,
    }
}

type Regions = BTreeMap<Option<String>, GpuRegionView>;

fn regions(book: &OfferBook, token: Address) -> BTreeMap<String, Regions> {
    let mut models: BTreeMap<String, Regions> = BTreeMap::new();
    for offer in book.iter().filter(|offer| offer.token == token) {
        let Some(gpus) = offer.gpus() else {
            continue;
        };
        let name = offer.region.as_ref().map(ToString::to_string);
        let region = models.entry(gpus.model.to_string()).or_default().entry(name.clone());
        let region = region.or_insert(GpuRegionView {
            region: name,
            nodes: 0,
            total: 0,
            free: 0,
            cheapest: gpus.rate,
        });
        region.nodes = region.nodes.saturating_add(1);
        region.total = region.total.saturating_add(u64::from(gpus.total));
        region.free = region.free.saturating_add(u64::from(gpus.free));
        region.cheapest = region.cheapest.min(gpus.rate);
    }
    models
}
