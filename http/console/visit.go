package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// visit is one request of a browser.
type visit struct {
	*console
	w    http.ResponseWriter
	r    *http.Request
	file string
}

// cookie holds the access token.
const cookie = "matrixon_console"

func (v *visit) token() string {
	c, err := v.r.Cookie(cookie)
	if err != nil {
		return ""
	}
	return c.Value
}

// remember gives the browser the token, or takes it away again when it is empty.
func (v *visit) remember(token string) {
	age := 0
	if token == "" {
		age = -1
	}
	secure := v.r.TLS != nil || strings.EqualFold(v.r.Header.Get("X-Forwarded-Proto"), "https")
	http.SetCookie(v.w, &http.Cookie{Name: cookie, Value: token, Path: Base, MaxAge: age, HttpOnly: true, Secure: secure, SameSite: http.SameSiteStrictMode})
}

// answer is what the API says, kept in memory.
type answer struct {
	header http.Header
	body   bytes.Buffer
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

// ask makes a request to the API as the person at the browser, and decodes the answer into it unless that is nil.
func (v *visit) ask(ctx context.Context, token, method, path string, body, into any) error {
	var raw []byte
	if body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://console"+path, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	// Limits count for the browser's address, not for ours.
	r.RemoteAddr, r.RequestURI = v.r.RemoteAddr, r.URL.RequestURI()
	r.Header["X-Forwarded-For"] = v.r.Header["X-Forwarded-For"]
	r.Header.Set("User-Agent", "Matrixon console")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	a := &answer{header: http.Header{}}
	v.API().ServeHTTP(a, r)
	if a.status != 0 && a.status != http.StatusOK {
		var refusal struct {
			Code    string `json:"errcode"`
			Message string `json:"error"`
		}
		if err := json.Unmarshal(a.body.Bytes(), &refusal); err != nil {
			return fmt.Errorf("%s %s: status %d: %w", method, path, a.status, err)
		}
		return &mxerr.Error{Status: a.status, Code: refusal.Code, Message: refusal.Message}
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(a.body.Bytes(), into)
}

// get asks the admin API.
func (v *visit) get(into any, path string, q url.Values) error {
	path = admin.Base + path
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return v.ask(v.r.Context(), v.token(), http.MethodGet, path, nil, into)
}

// post has the admin API do something.
func (v *visit) post(into any, path string, q url.Values, body any) error {
	path = admin.Base + path
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	if body == nil {
		body = struct{}{}
	}
	return v.ask(v.r.Context(), v.token(), http.MethodPost, path, body, into)
}

// view is what every page is made of.
type view struct {
	ServerName, Version, Base string
	Page                      string
	Fragment                  bool // only what is inside the frame
	Query                     url.Values
	Live                      string // where the body comes from again every two seconds; empty: it stays
	Tools, Body               template.HTML
	Error                     string
	Data                      any
}

// partial reports whether a script asks for a part of the page.
func (v *visit) partial() bool { return v.r.Header.Get("Hx-Request") == "true" }

// live are the pages that change by themselves.
var live = []string{"nodes", "actors", "actor", "room"}

func (v *visit) view(page string, data any) view {
	w := view{ServerName: v.ServerName, Version: v.Version, Base: Base, Page: page, Fragment: v.partial(), Query: v.r.Form, Data: data}
	if slices.Contains(live, page) {
		w.Live = Base + "/" + page + "?" + w.Query.Encode()
	}
	return w
}

func (v *visit) show(page string, data any) error { return v.write(http.StatusOK, v.view(page, data)) }

func (v *visit) write(status int, w view) error {
	var out bytes.Buffer
	if err := v.templates.ExecuteTemplate(&out, w.Page, w); err != nil {
		return err
	}
	if !w.Fragment {
		w.Body = template.HTML(out.String()) //nolint:gosec // a template has escaped it
		if tools := w.Page + "-tools"; v.templates.Lookup(tools) != nil {
			var above bytes.Buffer
			if err := v.templates.ExecuteTemplate(&above, tools, w); err != nil {
				return err
			}
			w.Tools = template.HTML(above.String()) //nolint:gosec // as above
		}
		out.Reset()
		if err := v.templates.ExecuteTemplate(&out, "frame", w); err != nil {
			return err
		}
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, err := v.w.Write(out.Bytes())
	return err
}

// redirect leads to another page of the console; a script is told to load it whole.
func (v *visit) redirect(to string) error {
	if v.partial() {
		v.w.Header().Set("HX-Redirect", Base+to)
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	}
	http.Redirect(v.w, v.r, Base+to, http.StatusSeeOther)
	return nil
}

// fail shows why something was not done. A session that has ended leads to the login.
func (v *visit) fail(err error) error {
	var refused *mxerr.Error
	if !errors.As(err, &refused) {
		return err
	}
	if refused.Status == http.StatusUnauthorized {
		v.remember("")
		return v.redirect("/login")
	}
	w := v.view("trouble", nil)
	w.Error = refused.Message
	status := refused.Status
	if v.partial() {
		status = http.StatusOK // or the script would not show it
		v.w.Header().Set("HX-Retarget", "#trouble")
		v.w.Header().Set("HX-Reswap", "innerHTML")
	}
	return v.write(status, w)
}

// login opens a session of an administrator of this server.
func (v *visit) login() error {
	ctx := v.r.Context()
	var session struct {
		Token string `json:"access_token"`
	}
	body := map[string]any{"type": "m.login.password", "identifier": map[string]string{"type": "m.id.user", "user": v.r.PostForm.Get("user")},
		"password": v.r.PostForm.Get("password"), "initial_device_display_name": "Matrixon console"}
	err := v.ask(ctx, "", http.MethodPost, "/_matrix/client/v3/login", body, &session)
	if err == nil {
		if err = v.ask(ctx, session.Token, http.MethodGet, admin.Base+"/cluster", nil, nil); err != nil {
			err = errors.Join(err, v.ask(ctx, session.Token, http.MethodPost, "/_matrix/client/v3/logout", struct{}{}, nil))
		}
	}
	var refused *mxerr.Error
	switch {
	case err == nil:
		v.remember(session.Token)
		return v.redirect("/nodes")
	case errors.As(err, &refused):
		w := v.view("login", nil)
		w.Error = refused.Message
		return v.write(refused.Status, w)
	default:
		return err
	}
}

// logout ends the session, on all nodes.
func (v *visit) logout() error {
	err := v.ask(v.r.Context(), v.token(), http.MethodPost, "/_matrix/client/v3/logout", struct{}{}, nil)
	var refused *mxerr.Error
	if err != nil && !(errors.As(err, &refused) && refused.Status == http.StatusUnauthorized) {
		return err
	}
	v.remember("")
	return v.redirect("/login")
}
