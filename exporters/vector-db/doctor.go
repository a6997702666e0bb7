package main

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"

	"github.com/alfred-agent-platform/backend-exporters/common/app"
	"github.com/alfred-agent-platform/backend-exporters/common/collect"
	"github.com/alfred-agent-platform/backend-exporters/common/fault"
)

// rights says, of each kind of server, how an account gets the rights that reading takes.
func rights(kind string) string {
	return map[string]string{
		"qdrant":   "give the exporter the key of service.read_only_api_key, or a JWT with the access r for all collections",
		"weaviate": "add the key's user to AUTHORIZATION_ADMINLIST_READONLY_USERS, or give it the role viewer",
		"milvus":   "grant the role of the exporter's user the privilege group CollectionReadOnly on all collections, and DatabaseReadOnly",
		"chroma":   "let the proxy before Chroma pass GET, and POST to count, get and query",
		"pgvector": "GRANT pg_read_all_data TO the exporter's role, or SELECT on the tables",
		"redis":    "ACL SETUSER the exporter's user with +@read +info on all keys",
	}[kind]
}

// oldest is the first version of a kind of server that is known to work, as major and minor.
func oldest(kind string) (major, minor int) {
	known := map[string][2]int{"qdrant": {1, 7}, "weaviate": {1, 19}}[kind]
	return known[0], known[1]
}

var versionNumber = regexp.MustCompile(`^v?(\d+)\.(\d+)`)

// tooOld tells whether a version is older than those that are known to work. What cannot be read is not.
func tooOld(kind, version string) bool {
	parts := versionNumber.FindStringSubmatch(version)
	if parts == nil {
		return false
	}
	major, _ := strconv.Atoi(parts[1]) // digits
	minor, _ := strconv.Atoi(parts[2])
	first, second := oldest(kind)
	return major < first || major == first && minor < second
}

// Examine finds what the target does not let us know, and what is unsafe about how it is asked.
func (s *settings) Examine(ctx context.Context, target collect.Spec) ([]app.Finding, error) {
	opened, err := target.Driver.Connect(ctx)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	c := opened.(*conn)
	id := c.Identity()
	var findings []app.Finding
	if tooOld(id.Product, id.Text) {
		major, minor := oldest(id.Product)
		findings = append(findings, app.Finding{
			Problem: fmt.Sprintf("the server's version is older than any that is known to work: %d.%d", major, minor), Remedy: "update the server",
		})
	}
	findings = append(findings, c.examineKey(ctx)...)
	findings = append(findings, c.examineRights(ctx)...)
	return append(findings, c.notes(target)...), nil
}

// examineKey looks at how the server is protected.
func (c *conn) examineKey(ctx context.Context) []app.Finding {
	to, err := c.driver.endpoint()
	if err != nil {
		return []app.Finding{{Problem: "the settings cannot be read: " + err.Error()}}
	}
	secret := to.Key != "" || to.Bearer != "" || to.Password != "" || len(to.Header) > 0
	if _, err := c.list(ctx); err == nil && !secret {
		return []app.Finding{{Note: "the server asks for no credentials: whoever reaches it can read it, and mostly change it"}}
	}
	ip := net.ParseIP(to.URL.Hostname())
	if secret && to.URL.Scheme == "http" && to.URL.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return []app.Finding{{
			Problem: "the credentials travel unencrypted: whoever is on the way can read them", Remedy: "let the server, or a proxy before it, speak TLS, and begin the url with https",
		}}
	}
	return nil
}

// examineRights asks what a scrape asks, and once of each what it asks of every collection.
func (c *conn) examineRights(ctx context.Context) []app.Finding {
	_, cluster := c.session.Cluster(ctx)
	refused := map[string]error{"the nodes": cluster}
	if names, err := c.wanted(ctx); err == nil && len(names) > 0 {
		described, err := c.session.Describe(ctx, names[:1])
		if err == nil && len(described) == 1 {
			err = described[0].Err
		}
		_, storage := c.session.Storage(ctx, names[:1])
		refused["collections"], refused["what collections take, and their snapshots"] = err, storage
	}
	var findings []app.Finding
	for _, what := range []string{"the nodes", "collections", "what collections take, and their snapshots"} {
		if kind := fault.Of(refused[what]); kind == fault.Auth || kind == fault.Denied {
			findings = append(findings, app.Finding{Problem: "the credentials do not allow to read of " + what, Remedy: rights(c.Identity().Product)})
		}
	}
	return findings
}

// notes tell what is left out because it was chosen to be.
func (c *conn) notes(target collect.Spec) []app.Finding {
	on := map[string]bool{}
	for _, one := range target.Collectors {
		on[one.Name] = true
	}
	var notes []app.Finding
	if !on["native"] && slices.Contains([]string{"qdrant", "weaviate", "milvus"}, c.Identity().Product) {
		notes = append(notes, app.Finding{Note: "the server's own metrics are not passed on, because native chooses none"})
	}
	if !on["canary"] {
		notes = append(notes, app.Finding{Note: "the canary is off, as nobody has configured it: writing and finding are not tested"})
	}
	if !on["recall"] {
		notes = append(notes, app.Finding{Note: "recall is off, as nobody has configured it: how good searches are is not measured"})
	}
	c.mu.Lock()
	all := c.names
	c.mu.Unlock()
	if out := len(all) - len(c.driver.wanted(all)); out > 0 {
		notes = append(notes, app.Finding{Note: fmt.Sprintf("%d of %d collections are left out by the filters or the limit", out, len(all))})
	}
	return notes
}
