// Package browser is the server's own pages for its users: where they sign in and make accounts when an app has sent them
// (client-server API, "OAuth 2.0 API" and "SSO client login/authentication"), and where they look after their accounts
// ("Account management"). The pages need no scripts.
package browser

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/address"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// The paths of the pages, below the server's base URL.
const (
	Base         = "/_matrixon/client"
	SignInPath   = Base + "/sign-in"
	SignUpPath   = Base + "/sign-up"
	SignOutPath  = Base + "/sign-out"
	ContinuePath = Base + "/continue"
	// WithPath begins the way to an identity provider, whose id follows.
	WithPath    = Base + "/with/"
	AccountPath = Base + "/account"
)

// Provider is an identity provider that people can sign in with.
type Provider struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Icon  string `json:"icon,omitzero"` // an mxc:// URI
	Brand string `json:"brand,omitzero"`
}

// Options are what the pages need besides client.Deps.
type Options struct {
	// BaseURL is where browsers reach this server, without a slash at its end.
	BaseURL   func() string
	Registrar *client.Registrar
	Box       *secret.Box
	// Addresses validates email addresses; nil: the server sends no email.
	Addresses *address.Validator
	Providers []Provider
	// Trusted are the beginnings of addresses of apps to which a user who has just signed in goes on without being asked.
	Trusted []string
}

// Pages serves the pages.
type Pages struct {
	client.Deps
	o Options
}

// New makes the pages.
func New(d client.Deps, o Options) *Pages {
	return &Pages{Deps: d, o: o}
}

// Registrar makes accounts.
func (p *Pages) Registrar() *client.Registrar { return p.o.Registrar }

// Providers are the identity providers, as clients learn of them.
func (p *Pages) Providers() []Provider { return slices.Clone(p.o.Providers) }

// URL is the full address of a path of this server.
func (p *Pages) URL(path string) string { return p.o.BaseURL() + path }

// Endpoints are those of the pages, and of the way from apps to them.
func (p *Pages) Endpoints() []api.Endpoint {
	return slices.Concat(p.signing(), p.signingUp(), p.byMail(), p.forApps(), p.account())
}

// View is a request for a page.
type View struct {
	*api.Request
	// Form is what was sent, of a POST.
	Form url.Values
	// Who is signed in; nil when nobody is.
	Who *Session
}

var (
	get  = []string{http.MethodGet}
	post = []string{http.MethodPost}
)

// maxForm bounds what a page sends.
const maxForm = 64 << 10

// Page adds a page, or what one of its forms does. Forms of other sites are refused. What goes wrong is shown to people.
func (p *Pages) Page(methods []string, path string, f func(*View) (any, error)) api.Endpoint {
	return api.Endpoint{Methods: methods, Path: path, MaxBody: maxForm, Handler: func(r *api.Request) (any, error) {
		answer, err := p.run(r, f)
		if err != nil {
			return p.Problem(r, err)
		}
		return answer, nil
	}}
}

func (p *Pages) run(r *api.Request, f func(*View) (any, error)) (any, error) {
	if err := r.Take(api.LimitRead); err != nil {
		return nil, err
	}
	v := &View{Request: r}
	if r.Method() == http.MethodPost {
		if err := new(http.CrossOriginProtection).Check(r.HTTP); err != nil {
			return nil, mxerr.Forbidden("this came from another site's page")
		}
		raw, err := r.Body()
		if err != nil {
			return nil, err
		}
		if v.Form, err = url.ParseQuery(string(raw)); err != nil {
			return nil, mxerr.BadJSON("this is no form")
		}
		for _, values := range v.Form {
			if !Text(values...) {
				return nil, mxerr.InvalidParam("this is not valid text")
			}
		}
	}
	var err error
	if v.Who, err = p.who(r); err != nil {
		return nil, err
	}
	return f(v)
}

// Problem shows what went wrong. What is not the user's doing is left to the API, which logs it.
func (p *Pages) Problem(r *api.Request, err error) (any, error) {
	refused := Refusal(err)
	if refused == nil || strings.HasPrefix(r.HTTP.URL.Path, "/_matrix/") && !strings.Contains(r.HTTP.Header.Get("Accept"), "text/html") {
		return nil, err
	}
	return p.Render(refused.Status, "problem", Shown{Title: "That did not work", Data: sentence(refused.Message)})
}

// Refusal is what the user can be told of an error; nil when there is nothing but that it failed.
func Refusal(err error) *mxerr.Error {
	var refused *mxerr.Error
	if errors.As(err, &refused) {
		return refused
	}
	return nil
}

// sentence makes a message of the API one that stands alone.
func sentence(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// Text reports whether these are valid UTF-8 text without NUL, which not every database takes.
func Text(values ...string) bool {
	return !slices.ContainsFunc(values, func(v string) bool { return !utf8.ValidString(v) || strings.Contains(v, "\x00") })
}

// Redirect sends the browser on, with a GET request.
func Redirect(to string, cookies ...*http.Cookie) api.Stream {
	return func(w http.ResponseWriter, _ *http.Request) error {
		guard(w.Header())
		for _, c := range cookies {
			http.SetCookie(w, c)
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
}

// Local gives a path of these pages, with its query, that a browser named as where to go on; else the account page. So nobody can
// use the pages to send people elsewhere.
func Local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Fragment != "" || u.Opaque != "" ||
		!strings.HasPrefix(u.Path, Base+"/") || strings.ContainsAny(next, "\\\r\n\t") || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "/..") {
		return AccountPath
	}
	return u.RequestURI()
}

// With adds a parameter to a path.
func With(path, name, value string) string {
	mark := "?"
	if strings.Contains(path, "?") {
		mark = "&"
	}
	return path + mark + url.QueryEscape(name) + "=" + url.QueryEscape(value)
}
