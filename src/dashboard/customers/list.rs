//! The list of customers; a customer is led to their own page.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::{Page, Shell, filters, html};
use crate::{
    app::App,
    auth::{Role, account::Status},
    customers::{self, Customer as Person, Filter, Sort, Wanted},
    http::{Customer, Query, Result},
};

/// Customers on one page.
const LIMIT: i64 = 50;

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Wish {
    #[serde(default)]
    q: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    sort: String,
    cursor: Option<String>,
}

impl Wish {
    fn filter(&self) -> Filter {
        let status = match self.status.as_str() {
            "active" => Some(Status::Active),
            "disabled" => Some(Status::Disabled),
            _ => None,
        };
        let verified = match self.status.as_str() {
            "verified" => Some(true),
            "unverified" => Some(false),
            _ => None,
        };
        let roles = [Role::Customer, Role::Operator, Role::Admin];
        let role = roles.into_iter().find(|role| role.as_str() == self.role);
        Filter { role, status, verified }
    }

    fn sort(&self) -> Sort {
        match self.sort.as_str() {
            "name" => Sort::Name,
            "seen" => Sort::Seen,
            _ => Sort::Newest,
        }
    }

    fn is_narrowed(&self) -> bool {
        !self.q.trim().is_empty() || self.filter() != Filter::default()
    }

    fn after(&self, cursor: &str) -> String {
        let mut query = Serializer::new(String::new());
        let fields =
            [("q", &self.q), ("role", &self.role), ("status", &self.status), ("sort", &self.sort)];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        query.append_pair("cursor", cursor);
        format!("/customers?{}", query.finish())
    }
}

#[derive(Template)]
#[template(path = "customers/list.html")]
struct List {
    shell: Shell,
    wish: Wish,
    customers: Vec<Person>,
    next: Option<String>,
    total: Option<i64>,
    /// A search found more than it looks at.
    more: bool,
}

impl List {
    fn is(given: &str, key: &str) -> bool {
        given == key
    }
}

pub(super) async fn page(
    page: Page<Customer>,
    State(app): State<App>,
    Query(wish): Query<Wish>,
) -> Result<Response> {
    if !page.caller.role.may_operate() {
        return Ok(Redirect::to("/customers/me").into_response());
    }
    let wanted = Wanted {
        q: wish.q.clone(),
        filter: wish.filter(),
        sort: wish.sort(),
        limit: LIMIT,
        cursor: wish.cursor.clone(),
    };
    let found = customers::list(&app.db, &page.caller, &wanted).await?;
    let next = found.next.map(|cursor| wish.after(&cursor));
    html(&List {
        customers: found.customers,
        next,
        total: found.total,
        more: found.more,
        wish,
        shell: page.shell,
    })
}
