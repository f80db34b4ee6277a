//! The GPUs of the market.

use super::{PRICE_DIGITS, column, table::Table};
use gpux_api::GpusView;

pub(crate) fn gpus(view: &GpusView) -> String {
    if view.models.is_empty() {
        return "no offer that this node has heard has a GPU; `gpux offers` lists all".to_owned();
    }
    let price = |what: &str| format!(">{what} ({}/h)", view.token.symbol);
    let [low, middle, high] = ["P10", "P50", "P90"].map(price);
    let headings = [
        "MODEL",
        "REGION",
        ">NODES",
        ">FREE",
        ">OF",
        ">ON ONE NODE",
        &low,
        &middle,
        &high,
    ];
    let mut table = Table::new(&headings);
    for model in &view.models {
        let price = |price: gpux_types::PricePerHour| column(&view.token, price.0, PRICE_DIGITS);
        table.row([
            model.model.clone(),
            "all".to_owned(),
            model.nodes.to_string(),
            model.free.to_string(),
            model.total.to_string(),
            model.largest.to_string(),
            price(model.p10),
            price(model.p50),
            price(model.p90),
        ]);
        for region in &model.regions {
            table.row([
                String::new(),
                region.region.clone().unwrap_or_else(|| "-".to_owned()),
                region.nodes.to_string(),
                region.free.to_string(),
                region.total.to_string(),
                String::new(),
                format!("from {}", price(region.cheapest)),
                String::new(),
                String::new(),
            ]);
        }
    }
    table.text("")
}
