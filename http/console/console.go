// Package console is a web page for operators at /_matrixon/console: the nodes and their load, the actors on them, rooms and users. It is
// a client of the admin API like any other, which decides who may see and do what; the browser holds the access token in
// a cookie that no script can read.
package console

import (
	"embed"
	"html/template"
	"net/http"
	"strings"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Base is the path below which everything stands.
const Base = "/_matrixon/console"

// maxForm bounds what a form sends, in bytes.
const maxForm = 16 << 10

//go:embed static
var static embed.FS

//go:embed pages/*.html
var pages embed.FS

// Deps are what the console needs.
type Deps struct {
	ServerName string
	Version    string
	// API serves the client-server API and the admin API, with all their checks.
	API func() http.Handler
}

type console struct {
	Deps
	templates *template.Template
	guard     *http.CrossOriginProtection
}

// Endpoints are the pages, for the part of administrators.
func Endpoints(d Deps) []api.Endpoint {
	c := &console{Deps: d, guard: http.NewCrossOriginProtection(), templates: template.Must(template.New("").Funcs(functions).ParseFS(pages, "pages/*.html"))}
	page := func(path string, f func(*visit) error) api.Endpoint {
		return api.Endpoint{Methods: []string{http.MethodGet}, Path: Base + path, Handler: c.handler(f)}
	}
	form := func(path string, f func(*visit) error) api.Endpoint {
		return api.Endpoint{Methods: []string{http.MethodPost}, Path: Base + path, MaxBody: maxForm, Handler: c.handler(f)}
	}
	return []api.Endpoint{
		page("", func(v *visit) error { return v.redirect("/nodes") }),
		page("/", func(v *visit) error { return v.redirect("/nodes") }),
		page("/static/{file}", (*visit).static),
		page("/login", func(v *visit) error { return v.show("login", nil) }),
		form("/login", (*visit).login),
		form("/logout", (*visit).logout),
		page("/nodes", (*visit).nodes),
		form("/nodes/drain", (*visit).drain),
		form("/nodes/rebalance", (*visit).rebalance),
		page("/actors", (*visit).actors),
		page("/actor", (*visit).actor),
		form("/actor/move", (*visit).move),
		form("/actor/stop", (*visit).stop),
		page("/rooms", (*visit).rooms),
		page("/room", (*visit).room),
		page("/users", (*visit).users),
		form("/user", (*visit).changeUser),
	}
}

// handler runs a page. What the API refuses is shown as a page too; whoever is not logged in is led to the login.
func (c *console) handler(f func(*visit) error) api.Handler {
	return func(r *api.Request) (any, error) {
		return api.Stream(func(w http.ResponseWriter, raw *http.Request) error {
			h := w.Header()
			h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
			h.Set("X-Content-Type-Options", "nosniff")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cache-Control", "no-store")
			v := &visit{console: c, w: w, r: raw, file: r.Vars["file"]}
			if err := c.guard.Check(raw); err != nil {
				return v.fail(mxerr.Forbidden("this form was sent by another site"))
			}
			raw.Body = http.MaxBytesReader(w, raw.Body, maxForm)
			if err := raw.ParseForm(); err != nil {
				return v.fail(mxerr.InvalidParam("the form cannot be read"))
			}
			if err := f(v); err != nil {
				return v.fail(err)
			}
			return nil
		}), nil
	}
}

// static serves a file that is part of the program.
func (v *visit) static() error {
	content, err := static.ReadFile("static/" + v.file)
	if err != nil {
		return mxerr.NotFound("there is no such file")
	}
	kind := map[bool]string{true: "text/css; charset=utf-8", false: "text/javascript; charset=utf-8"}[strings.HasSuffix(v.file, ".css")]
	v.w.Header().Set("Content-Type", kind)
	v.w.Header().Set("Cache-Control", "max-age=3600")
	_, err = v.w.Write(content)
	return err
}
