//! Pure: calls about what there is none of here: their lists are empty, so that tools which look at
//! all that an account has find nothing, and one that is named does not exist. What would make one
//! is not answered.

use http::Method;

use super::views::{self, Paging};
use super::xml::{Fault, HEAD, NAMESPACE, Said};

/// How a list is asked for and told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// By GET, with a marker in the query; page by page.
    Paged,
    /// By POST; where it is empty, without anything.
    Bare,
}

/// A list that is empty.
#[derive(Debug)]
pub struct List {
    path: &'static str,
    /// The call's name, as keys are allowed it.
    pub action: &'static str,
    root: &'static str,
    form: Form,
}

/// All of them.
static LISTS: [List; 8] = [
    List {
        path: "streaming-distribution",
        action: "ListStreamingDistributions",
        root: "StreamingDistributionList",
        form: Form::Paged,
    },
    List { path: "vpc-origin", action: "ListVpcOrigins", root: "VpcOriginList", form: Form::Paged },
    List {
        path: "anycast-ip-list",
        action: "ListAnycastIpLists",
        root: "AnycastIpListCollection",
        form: Form::Paged,
    },
    List {
        path: "distributionsByConnectionFunction",
        action: "ListDistributionsByConnectionFunction",
        root: "DistributionList",
        form: Form::Paged,
    },
    List {
        path: "connection-functions",
        action: "ListConnectionFunctions",
        root: "ListConnectionFunctionsResult",
        form: Form::Bare,
    },
    List {
        path: "connection-groups",
        action: "ListConnectionGroups",
        root: "ListConnectionGroupsResult",
        form: Form::Bare,
    },
    List {
        path: "distribution-tenants",
        action: "ListDistributionTenants",
        root: "ListDistributionTenantsResult",
        form: Form::Bare,
    },
    List {
        path: "distribution-tenants-by-customization",
        action: "ListDistributionTenantsByCustomization",
        root: "ListDistributionTenantsByCustomizationResult",
        form: Form::Bare,
    },
];

impl List {
    /// The list of a method and of a path below the API's own, cut at the slashes.
    pub fn of(method: &Method, path: &[&str]) -> Option<&'static Self> {
        let [path] = path else { return None };
        let form = match *method {
            Method::GET => Form::Paged,
            Method::POST => Form::Bare,
            _ => return None,
        };
        LISTS.iter().find(|list| list.path == *path && list.form == form)
    }

    /// Tells that there is nothing.
    pub fn answer(&self, query: Option<&str>) -> Result<Said, Fault> {
        let root = self.root;
        let xml = match self.form {
            Form::Paged => views::none(root, &Paging::of(query)?),
            Form::Bare => format!("{HEAD}<{root} xmlns=\"{NAMESPACE}\"></{root}>"),
        };
        Ok(Said { status: 200, xml, ..Said::default() })
    }
}

/// The fault of a call that nothing here answers.
pub fn fault(method: &Method, path: &[&str]) -> Fault {
    let missing = |what: &str| {
        let why = format!("There are no {what} here.");
        Fault::new(404, "EntityNotFound", &why)
    };
    match (method, path) {
        (_, ["distribution-tenant", ..]) => Fault::new(
            404,
            "EntityNotFound",
            "There are no distribution tenants here; name the distribution.",
        ),
        (_, ["streaming-distribution", _, ..]) => Fault::new(
            404,
            "NoSuchStreamingDistribution",
            "The specified streaming distribution does not exist.",
        ),
        (_, ["vpc-origin", _, ..]) => missing("VPC origins"),
        (_, ["anycast-ip-list", _, ..]) => missing("lists of anycast addresses"),
        (_, ["connection-function", _, ..]) => missing("connection functions"),
        (&Method::GET, ["connection-group"]) | (_, ["connection-group", _, ..]) => {
            missing("connection groups")
        }
        _ => Fault::new(
            404,
            "UnsupportedOperation",
            "Foreshore answers the calls of this API about distributions, invalidations, tags, policies, access controls, keys, functions and key value stores.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(path: &str) -> Vec<&str> {
        path.split('/').collect()
    }

    #[test]
    fn lists_are_empty_in_the_form_that_each_has() {
        for list in &LISTS {
            let method = if list.form == Form::Paged { Method::GET } else { Method::POST };
            let found = List::of(&method, &[list.path]).unwrap();
            assert_eq!(found.action, list.action);
            let said = found.answer(Some("MaxItems=7&Marker=a%26b")).unwrap();
            let root = list.root;
            assert_eq!(said.status, 200);
            assert!(said.xml.starts_with(&format!("{HEAD}<{root} xmlns=")), "{}", said.xml);
            assert!(said.xml.ends_with(&format!("</{root}>")), "{}", said.xml);
            let told = "<Marker>a&amp;b</Marker><MaxItems>7</MaxItems><IsTruncated>false</IsTruncated><Quantity>0</Quantity>";
            assert_eq!(said.xml.contains(told), list.form == Form::Paged, "{}", said.xml);
        }
        let paged = List::of(&Method::GET, &["vpc-origin"]).unwrap();
        assert_eq!(paged.answer(Some("MaxItems=0")).unwrap_err().code, "InvalidArgument");
        for (method, path) in [
            (Method::POST, "streaming-distribution"),
            (Method::GET, "connection-groups"),
            (Method::GET, "vpc-origin/vo_1"),
            (Method::PUT, "vpc-origin"),
        ] {
            assert!(List::of(&method, &parts(path)).is_none(), "{method} {path}");
        }
    }

    #[test]
    fn what_is_named_does_not_exist_and_what_would_be_made_is_not_answered() {
        for (method, path, want) in [
            (Method::GET, "streaming-distribution/E1", "NoSuchStreamingDistribution"),
            (Method::PUT, "streaming-distribution/E1/config", "NoSuchStreamingDistribution"),
            (Method::GET, "vpc-origin/vo_1", "EntityNotFound"),
            (Method::DELETE, "anycast-ip-list/a", "EntityNotFound"),
            (Method::GET, "connection-function/f/describe", "EntityNotFound"),
            (Method::GET, "connection-group", "EntityNotFound"),
            (Method::PUT, "connection-group/g", "EntityNotFound"),
            (Method::POST, "distribution-tenant/t/invalidation", "EntityNotFound"),
            (Method::POST, "streaming-distribution", "UnsupportedOperation"),
            (Method::POST, "vpc-origin", "UnsupportedOperation"),
            (Method::POST, "connection-group", "UnsupportedOperation"),
            (Method::PATCH, "distribution", "UnsupportedOperation"),
        ] {
            let fault = fault(&method, &parts(path));
            assert_eq!((fault.status, fault.code), (404, want), "{method} {path}");
        }
    }
}
