// Package console is the web console of administrators: nodes, actors, rooms, users and reports in a browser. Any node can
// show it, because it keeps nothing but the session's cookie and asks the cluster through the same admin.Operator as the
// HTTP interface does.
//
// Pages are HTML templates; htmx fetches fragments of them every two seconds while the tab can be seen, and whenever
// something is done. There is no inline script or style, so that the Content-Security-Policy can refuse them.
package console

import (
	"log/slog"
	"net/http"

	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/http/api"
)

// Base is the path of the console.
const Base = "/_matrixon/console"

// maxForm bounds what is sent by a form, in bytes.
const maxForm = 256 << 10

// Options are what the console needs.
type Options struct {
	Operator admin.Operator
	Auth     api.Authenticator
	Seen     api.SeenRecorder // nil: nobody wants to know
	Version  string
	Log      *slog.Logger
}

type console struct{ Options }

// Endpoints are the pages of the console, their fragments, and what their buttons do.
func Endpoints(o Options) []api.Endpoint {
	c := &console{o}
	return []api.Endpoint{
		c.page("", "nodes", "nodes", c.nodes),
		c.page("/rebalance", "nodes", "plan", c.plan),
		c.action("/rebalance", c.carryOut),
		c.action("/nodes/{node}/drain", c.drain),
		c.page("/actors", "actors", "actors", c.actors),
		c.page("/actors/{kind}/{id}", "actors", "actor", c.actor),
		c.action("/actors/{kind}/{id}/move", c.move),
		c.action("/actors/{kind}/{id}/stop", c.stop),
		c.page("/appservices", "appservices", "appservices", c.appservices),
		c.page("/appservices/{appservice}", "appservices", "appservice", c.appservice),
		c.action("/appservices/{appservice}/retry", c.retry),
		c.page("/destinations", "destinations", "destinations", c.destinations),
		c.page("/destinations/{destination}", "destinations", "destination", c.destination),
		c.action("/destinations/{destination}/{action}", c.operateDestination),
		c.page("/rooms", "rooms", "rooms", c.rooms),
		c.page("/rooms/{room}", "rooms", "room", c.room),
		c.page("/rooms/{room}/members", "rooms", "members", c.members),
		c.action("/rooms/{room}", c.changeRoom),
		c.page("/users", "users", "users", c.users),
		c.page("/users/{user}", "users", "user", c.user),
		c.action("/users/{user}", c.changeUser),
		c.action("/users/{user}/log_out", c.logOut),
		c.action("/users/{user}/redact", c.redact),
		c.page("/tokens", "tokens", "tokens", c.tokens),
		c.action("/tokens", c.changeTokens),
		c.page("/reports", "reports", "reports", c.reports),
		c.action("/reports/{report}/close", c.closeReport),
		{Methods: []string{http.MethodGet}, Path: Base + "/login", Handler: c.loginPage},
		{Methods: []string{http.MethodPost}, Path: Base + "/login", Limit: api.LimitLogin, MaxBody: maxForm, Handler: c.login},
		{Methods: []string{http.MethodPost}, Path: Base + "/logout", MaxBody: maxForm, Handler: c.logout},
		{Methods: []string{http.MethodGet}, Path: Base + "/static/{file}", Handler: static},
	}
}
