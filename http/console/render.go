package console

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

//go:embed templates
var templateFiles embed.FS

// pages are the templates: each page with the layout around it.
var pages = func() map[string]*template.Template {
	names := []string{"nodes", "plan", "actors", "actor", "rooms", "room", "members", "users", "user", "tokens", "reports", "appservices", "appservice", "destinations", "destination", "login", "problem"}
	all := map[string]*template.Template{}
	for _, name := range names {
		all[name] = template.Must(template.New(name).Funcs(functions).ParseFS(templateFiles, "templates/layout.html", "templates/parts.html", "templates/"+name+".html"))
	}
	return all
}()

// shown is what a template gets.
type shown struct {
	Title   string
	Section string // of the navigation
	User    string // who is logged in; empty on the login page
	CSRF    string
	Server  string
	Version string
	Self    string // the path of the page, with its query
	Data    any
}

// Edition names the contents of the static files.
func (shown) Edition() string { return edition }

// Base is the path of the console.
func (shown) Base() string { return Base }

// guard says what a browser may do with an answer of the console: nothing but show it.
func guard(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Expose-Headers"} {
		h.Del(name) // no other site has any business here
	}
}

// render makes the answer before the first byte is sent, so that a failure can still be told.
func (c *console) render(status int, page, block string, s shown, notices ...string) api.Stream {
	s.Server, s.Version = c.Operator.ServerName, c.Version
	return func(w http.ResponseWriter, _ *http.Request) error {
		var b bytes.Buffer
		if block != "" {
			if err := pages[page].ExecuteTemplate(&b, block, s); err != nil {
				return fmt.Errorf("page %s: %w", page, err)
			}
		}
		for _, text := range notices {
			if err := pages[page].ExecuteTemplate(&b, "notice", notice{Text: text, Bad: status >= http.StatusBadRequest}); err != nil {
				return fmt.Errorf("notice: %w", err)
			}
		}
		guard(w.Header())
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Vary", "HX-Request, HX-Target")
		w.WriteHeader(status)
		_, _ = w.Write(b.Bytes()) // the browser is gone when this fails
		return nil
	}
}

// notice tells people what has become of what they did.
type notice struct {
	Text string
	Bad  bool
}

// page adds a page that is shown to administrators. When only a part of it is wanted, by the id of the element that it
// is for, the block of the template with that name is all that is sent.
func (c *console) page(path, section, name string, f func(*view) (title string, data any, err error)) api.Endpoint {
	return api.Endpoint{Methods: []string{http.MethodGet}, Path: Base + path, Handler: func(r *api.Request) (any, error) {
		v, err := c.enter(r)
		if err != nil {
			return c.fail(r, err), nil
		}
		if err := r.Take(api.LimitRead); err != nil {
			return c.fail(r, err), nil
		}
		title, data, err := f(v)
		if err != nil {
			return c.fail(r, err), nil
		}
		block := "layout"
		if target := r.HTTP.Header.Get("HX-Target"); fragment(r) && pages[name].Lookup(target) != nil && target != "" {
			block = target
		}
		return c.render(http.StatusOK, name, block, c.shown(v, section, title, data)), nil
	}}
}

func (c *console) shown(v *view, section, title string, data any) shown {
	return shown{Title: title, Section: section, User: v.User(), CSRF: v.csrf, Self: v.HTTP.URL.RequestURI(), Data: data}
}

// fragment reports whether htmx asks.
func fragment(r *api.Request) bool { return r.HTTP.Header.Get("HX-Request") == "true" }

// outcome is what an action has done, and what is shown in the place of what it was done from, if anything.
type outcome struct {
	notice      string
	page, block string
	data        any
}

// action adds what a button does.
func (c *console) action(path string, f func(*view) (outcome, error)) api.Endpoint {
	return api.Endpoint{Methods: []string{http.MethodPost}, Path: Base + path, MaxBody: maxForm, Handler: func(r *api.Request) (any, error) {
		v, err := c.enter(r)
		if err == nil {
			err = v.submitted()
		}
		if err == nil {
			err = r.Take(api.LimitAccount)
		}
		if err != nil {
			return c.fail(r, err), nil
		}
		done, err := f(v)
		if err != nil {
			return c.fail(r, err), nil
		}
		var notices []string
		if done.notice != "" {
			notices = append(notices, done.notice)
		}
		page := done.page
		if page == "" {
			page = "problem" // any has the notice
		}
		answer := c.render(http.StatusOK, page, done.block, c.shown(v, "", "", done.data), notices...)
		return api.Stream(func(w http.ResponseWriter, hr *http.Request) error {
			if done.block == "" {
				w.Header().Set("HX-Reswap", "none")
			}
			w.Header().Set("HX-Trigger", "tick") // what is shown may be old now
			return answer(w, hr)
		}), nil
	}}
}

// explain is the error as people are told. What is not their doing is logged.
func (c *console) explain(r *api.Request, err error) *mxerr.Error {
	var refused *mxerr.Error
	if errors.As(err, &refused) {
		return refused
	}
	if r.Ctx.Err() == nil {
		c.Log.Error("a page of the console failed", "method", r.Method(), "user", r.User(), "error", err)
	}
	return mxerr.From(err)
}

// fail shows an error: in the place for notices, or as a page. Who is not logged in comes to the login page.
func (c *console) fail(r *api.Request, err error) api.Stream {
	e := c.explain(r, err)
	if e.Status == http.StatusUnauthorized {
		login := Base + "/login"
		if r.Method() == http.MethodGet && !fragment(r) && r.HTTP.URL.Path != Base {
			login += "?next=" + url.QueryEscape(r.HTTP.URL.RequestURI())
		}
		if !fragment(r) {
			return redirect(login, c.cookie(r, "", -1))
		}
		return func(w http.ResponseWriter, _ *http.Request) error {
			guard(w.Header())
			w.Header().Set("HX-Redirect", login)
			w.WriteHeader(http.StatusUnauthorized)
			return nil
		}
	}
	if !fragment(r) {
		s := shown{Title: "That did not work", Data: e}
		if r.Session != nil {
			s.User = r.User()
			if cookie, err := r.HTTP.Cookie(cookieName); err == nil {
				s.CSRF = forgery(cookie.Value)
			}
		}
		return c.render(e.Status, "problem", "layout", s)
	}
	answer := c.render(e.Status, "problem", "", shown{}, e.Message)
	return func(w http.ResponseWriter, hr *http.Request) error {
		w.Header().Set("HX-Reswap", "none") // only the notice is new
		w.Header().Set("X-Console", "notice")
		return answer(w, hr)
	}
}
