package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/matrixon/matrixon/cluster"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/api/secret"
	"github.com/matrixon/matrixon/http/api/uia"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/messages"
)

const (
	cookieName = "matrixon_console"
	deviceName = "Matrixon console"
	// sessionLife is how long a login lasts.
	sessionLife = 12 * time.Hour
)

// view is a request by an administrator who is logged in.
type view struct {
	*api.Request
	csrf string
	form url.Values // of an action
}

// by says who has something done.
func (v *view) by() admin.By { return admin.By(v.User()) }

// forgery is what every form sends along: only a page of this console, in this session, can know it.
func forgery(token string) string {
	mac := hmac.New(sha256.New, []byte(token))
	mac.Write([]byte("the forms of the console"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// enter finds out who asks: an administrator who is neither locked nor, when something is to be done, suspended.
func (c *console) enter(r *api.Request) (*view, error) {
	cookie, err := r.HTTP.Cookie(cookieName)
	if err != nil || cookie.Value == "" {
		return nil, api.UnknownToken(false)
	}
	s, err := c.Auth.Authenticate(r.Ctx, cookie.Value, r.HTTP)
	if err != nil {
		return nil, err
	}
	switch {
	case !s.Admin:
		return nil, mxerr.Forbidden("%s is not an administrator of this server", s.UserID)
	case s.Locked:
		return nil, mxerr.New(http.StatusUnauthorized, "M_USER_LOCKED", "this account has been locked")
	case s.Suspended && r.Method() == http.MethodPost:
		return nil, mxerr.New(http.StatusForbidden, "M_USER_SUSPENDED", "this account has been suspended and can only read")
	}
	r.Session = s
	if c.Seen != nil {
		c.Seen.Seen(s, r.IP(), r.HTTP.UserAgent(), r.Now)
	}
	return &view{Request: r, csrf: forgery(cookie.Value)}, nil
}

// sameSite refuses what another site's page made the browser send.
func sameSite(r *api.Request) error {
	if err := new(http.CrossOriginProtection).Check(r.HTTP); err != nil {
		return mxerr.Forbidden("this came from another site's page")
	}
	return nil
}

// submitted reads a form of a page of this session.
func (v *view) submitted() error {
	if err := sameSite(v.Request); err != nil {
		return err
	}
	form, err := readForm(v.Request)
	if err != nil {
		return err
	}
	v.form = form
	given := v.HTTP.Header.Get("X-CSRF-Token")
	if given == "" {
		given = form.Get("csrf")
	}
	if !hmac.Equal([]byte(given), []byte(v.csrf)) {
		return mxerr.Forbidden("this form is of another session: load the page again")
	}
	return nil
}

func readForm(r *api.Request) (url.Values, error) {
	body, err := r.Body()
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, mxerr.New(http.StatusBadRequest, "M_BAD_JSON", "this is no form")
	}
	return form, nil
}

// loginForm is what the login page shows.
type loginForm struct {
	User, Next, Error string
	Plain             bool // the password would travel unencrypted
}

func (c *console) loginPage(r *api.Request) (any, error) {
	return c.showLogin(r, http.StatusOK, loginForm{Next: r.Param("next")}), nil
}

func (c *console) showLogin(r *api.Request, status int, f loginForm) api.Stream {
	f.Plain = !encrypted(r) && !net.ParseIP(r.IP()).IsLoopback()
	return c.render(status, "login", "layout", shown{Title: "Log in", Data: f})
}

// encrypted reports whether the browser speaks TLS, as far as it can be known behind a proxy.
func encrypted(r *api.Request) bool {
	return r.HTTP.TLS != nil || r.HTTP.Header.Get("X-Forwarded-Proto") == "https"
}

// login begins a session of an administrator, which is a device as any other.
func (c *console) login(r *api.Request) (any, error) {
	if err := sameSite(r); err != nil {
		return c.fail(r, err), nil
	}
	form, err := readForm(r)
	if err != nil {
		return c.fail(r, err), nil
	}
	token, err := c.open(r, form.Get("user"), form.Get("password"))
	if err != nil {
		e := c.explain(r, err)
		return c.showLogin(r, e.Status, loginForm{User: form.Get("user"), Next: form.Get("next"), Error: e.Message}), nil
	}
	return redirect(within(form.Get("next")), c.cookie(r, token, int(sessionLife/time.Second))), nil
}

// open makes the session and gives its access token.
func (c *console) open(r *api.Request, name, password string) (token string, err error) {
	wrong := mxerr.Forbidden("the user name or the password is wrong")
	userID, ok := uia.UserID(strings.TrimSpace(name), c.Operator.ServerName)
	if !ok {
		return "", wrong
	}
	a, err := uia.CheckPassword(r, c.Operator.Store, c.Operator.Passwords, userID, password)
	switch {
	case err != nil:
		return "", err
	case a.Deactivated:
		return "", wrong
	case a.Locked:
		return "", mxerr.Forbidden("this account has been locked")
	case !a.Admin:
		return "", mxerr.Forbidden("%s is not an administrator of this server", a.UserID)
	}
	token = secret.New(secret.Access)
	device := rand.Text()[:10]
	_, err = c.Operator.Node.Ask(r.Ctx, cluster.Identity{Kind: cluster.KindUser, ID: a.UserID}, &messages.LogIn{Session: &messages.OpenSession{
		DeviceId: device, DisplayName: deviceName, AccessHash: secret.Hash(token), AccessExpiresTs: r.Now.Add(sessionLife).UnixMilli()}})
	c.Operator.Sessions.Forget(a.UserID)
	return token, err
}

// logout ends the session, and the device with it.
func (c *console) logout(r *api.Request) (any, error) {
	v, err := c.enter(r)
	if err == nil {
		err = v.submitted()
	}
	if err == nil {
		_, err = c.Operator.Node.Ask(r.Ctx, cluster.Identity{Kind: cluster.KindUser, ID: v.User()}, &messages.RemoveDevices{DeviceIds: []string{v.Device()}})
		c.Operator.Sessions.Forget(v.User())
	}
	if err != nil && c.explain(r, err).Status != http.StatusUnauthorized {
		return c.fail(r, err), nil
	}
	return redirect(Base+"/login", c.cookie(r, "", -1)), nil
}

func (c *console) cookie(r *api.Request, token string, maxAge int) *http.Cookie {
	return &http.Cookie{Name: cookieName, Value: token, Path: Base, MaxAge: maxAge, HttpOnly: true, Secure: encrypted(r), SameSite: http.SameSiteStrictMode}
}

// within is a page of the console: the one asked for, or else the first.
func within(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(u.EscapedPath(), Base+"/") {
		return Base
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String()
}

func redirect(to string, cookie *http.Cookie) api.Stream {
	return func(w http.ResponseWriter, r *http.Request) error {
		guard(w.Header())
		if cookie != nil {
			http.SetCookie(w, cookie)
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusSeeOther)
		return nil
	}
}
