//! Which daemon commands talk to.

use super::table::Table;
use gpux_api::{ContextView, ContextsView};

/// One line: what `gpux context show` answers.
pub(crate) fn context(view: &ContextsView) -> String {
    let lines = view.contexts.iter().map(|context| {
        let name = context.name.as_deref().unwrap_or("no name");
        format!("{} ({name}; its daemon {})", context.folder, daemon(context))
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(crate) fn contexts(view: &ContextsView) -> String {
    let mut table = Table::new(&["NAME", "FOLDER", "DAEMON"]);
    for context in &view.contexts {
        let name = context.name.as_deref().unwrap_or("-");
        let mark = if context.current { " *" } else { "" };
        table.row([
            format!("{name}{mark}"),
            context.folder.clone(),
            daemon(context).to_owned(),
        ]);
    }
    table.text("")
}

const fn daemon(context: &ContextView) -> &'static str {
    if context.running { "runs" } else { "does not run" }
}
