//! `gpux context`: names for the folders of daemons, and which of them commands talk to.

use crate::{
    args::{ContextVerb, Global},
    client::Client,
    failure::Failure,
    home::{self, Context},
    out, show,
};
use gpux_api::{ContextView, ContextsView, ErrorCode};

pub(super) async fn run(global: &Global, verb: ContextVerb) -> Result<u8, Failure> {
    match verb {
        ContextVerb::Ls => {}
        ContextVerb::Show => {
            let current = view_of_current(global).await?;
            out::print(global, &ContextsView::from(vec![current]), show::context)?;
            return Ok(0);
        }
        ContextVerb::Use { name } => home::use_context(&find(&name)?)?,
        ContextVerb::Create { name, folder } => home::name_context(&name, &super::plan::absolute(&folder)?)?,
        ContextVerb::Rm { name } => home::forget_context(&find(&name)?)?,
    }
    let current = home::daemon_dir(global.dir.as_deref())?;
    let mut views = Vec::new();
    for context in home::contexts()? {
        views.push(view(&context, context.folder == current).await);
    }
    if !views.iter().any(|view| view.current) {
        views.push(view_of_current(global).await?);
    }
    out::print(global, &ContextsView::from(views), show::contexts)?;
    Ok(0)
}

fn find(name: &str) -> Result<Context, Failure> {
    let known = home::contexts()?;
    let names: Vec<String> = known.iter().filter_map(|context| context.name.clone()).collect();
    let found = known.into_iter().find(|context| context.name.as_deref() == Some(name));
    found.ok_or_else(|| {
        let text = format!("looking for the context {name:?}: there is none of that name");
        Failure::new(ErrorCode::NotFound, text).with_hint(format!(
            "there is {}; `gpux context create NAME FOLDER` adds one",
            names.join(", ")
        ))
    })
}

async fn view_of_current(global: &Global) -> Result<ContextView, Failure> {
    let folder = home::daemon_dir(global.dir.as_deref())?;
    let known = home::contexts()?.into_iter().find(|context| context.folder == folder);
    Ok(view(&known.unwrap_or(Context { name: None, folder }), true).await)
}

/// With whether a daemon answers there; none is started.
async fn view(context: &Context, current: bool) -> ContextView {
    ContextView {
        name: context.name.clone(),
        folder: context.folder.display().to_string(),
        current,
        running: matches!(Client::running(&context.folder).await, Ok(Some(_))),
    }
}
