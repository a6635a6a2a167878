package oauth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/client/clienttest"
)

const (
	password  = "correct horse"
	verifier  = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	deviceURN = "urn:matrix:client:device:"
	scope     = "urn:matrix:client:api:* " + deviceURN
)

// world is a server that lets apps in, with an account @alice:example.org.
type world struct {
	*clienttest.World
	t    *testing.T
	meta gjson.Result
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{World: clienttest.New(t), t: t}
	w.Registration = client.RegistrationOptions{Open: true}
	w.meta = w.get("/_matrix/client/v1/auth_metadata")
	nobody := w.Nobody()
	body := clienttest.J{"username": "alice", "password": password, "inhibit_login": true, "auth": clienttest.J{"type": "m.login.dummy"}}
	nobody.Post("/register", body).OK()
	return w
}

func (w *world) get(path string) gjson.Result { return gjson.Parse(w.Nobody().Get(path).OK().Raw) }

// endpoint is an address of the metadata.
func (w *world) endpoint(name string) string {
	w.t.Helper()
	text := w.meta.Get(name).Str
	if !strings.HasPrefix(text, w.URL()) {
		w.t.Fatalf("%s is %q", name, text)
	}
	return text
}

// reply is what an OAuth endpoint or a page said.
type reply struct {
	t      *testing.T
	status int
	body   string
	header http.Header
}

func (r reply) json(name string) string { return gjson.Get(r.body, name).String() }

// ok fails the test unless the status is 200.
func (r reply) ok() reply {
	r.t.Helper()
	if r.status != http.StatusOK {
		r.t.Fatalf("%d %s", r.status, r.body)
	}
	return r
}

// refused fails the test unless the answer is this error of OAuth 2.0.
func (r reply) refused(code string) {
	r.t.Helper()
	if r.status != http.StatusBadRequest || r.json("error") != code || r.json("error_description") == "" {
		r.t.Fatalf("%d %s, want %s", r.status, r.body, code)
	}
}

// to is where the answer leads.
func (r reply) to() *url.URL {
	r.t.Helper()
	if r.status != http.StatusSeeOther && r.status != http.StatusFound {
		r.t.Fatalf("no redirect: %d %s", r.status, r.body)
	}
	u, err := url.Parse(r.header.Get("Location"))
	if err != nil {
		r.t.Fatal(err)
	}
	return u
}

func read(t *testing.T, resp *http.Response, err error) reply {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{t, resp.StatusCode, string(raw), resp.Header}
}

// form posts a form to an endpoint of the metadata, without cookies.
func (w *world) form(endpoint string, values map[string]string) reply {
	w.t.Helper()
	q := url.Values{}
	for name, v := range values {
		q.Set(name, v)
	}
	resp, err := http.PostForm(w.endpoint(endpoint), q)
	return read(w.t, resp, err)
}

// register registers a client.
func (w *world) register(metadata string) reply {
	w.t.Helper()
	resp, err := http.Post(w.endpoint("registration_endpoint"), "application/json", strings.NewReader(metadata))
	return read(w.t, resp, err)
}

const app = `{"client_name":"App","client_uri":"https://app.example/","redirect_uris":["https://app.example/back"],"application_type":"web",
	"response_types":["code"],"grant_types":["authorization_code","refresh_token","urn:ietf:params:oauth:grant-type:device_code"],
	"token_endpoint_auth_method":"none","policy_uri":"https://app.example/policy","client_name#fr":"Appli"}`

// client registers the app and gives its id.
func (w *world) client() string {
	w.t.Helper()
	r := w.register(app)
	if r.status != http.StatusCreated {
		w.t.Fatalf("%d %s", r.status, r.body)
	}
	return r.json("client_id")
}

// person is somebody with a browser.
type person struct {
	w      *world
	client *http.Client
}

func (w *world) person() *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return &person{w, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (p *person) full(path string) string {
	if strings.HasPrefix(path, "/") {
		return p.w.URL() + path
	}
	return path
}

func (p *person) get(path string) reply {
	p.w.t.Helper()
	resp, err := p.client.Get(p.full(path))
	return read(p.w.t, resp, err)
}

func (p *person) post(path string, values url.Values) reply {
	p.w.t.Helper()
	resp, err := p.client.PostForm(p.full(path), values)
	return read(p.w.t, resp, err)
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

// fields are the hidden fields of the page's form, with others.
func fields(page reply, more ...string) url.Values {
	q := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(page.body, -1) {
		q.Set(m[1], html.UnescapeString(m[2]))
	}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return q
}

// signIn follows the way to the sign-in page, signs alice in, and gives where it goes on.
func (p *person) signIn(at reply) string {
	p.w.t.Helper()
	to := at.to()
	if to.Path != "/_matrixon/client/sign-in" {
		p.w.t.Fatalf("not to the sign-in page: %s", to)
	}
	page := p.get(to.String()).ok()
	return p.post(to.Path, fields(page, "user", "alice", "password", password)).to().String()
}

func challenge() string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// request is an authorization request of the app.
func (w *world) request(clientID, device string, more ...string) string {
	q := url.Values{"response_type": {"code"}, "client_id": {clientID}, "redirect_uri": {"https://app.example/back"}, "scope": {scope + device}, "state": {"st&te"},
		"response_mode": {"fragment"}, "code_challenge": {challenge()}, "code_challenge_method": {"S256"}}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return w.endpoint("authorization_endpoint") + "?" + q.Encode()
}

// letIn has alice let the app in, and gives the code.
func (p *person) letIn(clientID, device string) string {
	p.w.t.Helper()
	at := p.get(p.w.request(clientID, device))
	for at.status != http.StatusOK {
		at = p.get(p.signIn(at))
	}
	to := p.post("/_matrixon/client/oauth2/authorize", fields(at, "decision", "allow")).to()
	answer, err := url.ParseQuery(to.EscapedFragment())
	if err != nil || to.Host != "app.example" || answer.Get("state") != "st&te" || answer.Get("code") == "" {
		p.w.t.Fatalf("back to %s", to)
	}
	return answer.Get("code")
}

// redeem exchanges a code.
func (w *world) redeem(clientID, code string, more ...string) reply {
	w.t.Helper()
	q := map[string]string{"grant_type": "authorization_code", "code": code, "client_id": clientID, "redirect_uri": "https://app.example/back", "code_verifier": verifier}
	for i := 0; i < len(more); i += 2 {
		q[more[i]] = more[i+1]
	}
	return w.form("token_endpoint", q)
}

// refresh exchanges a refresh token.
func (w *world) refresh(clientID, token string) reply {
	w.t.Helper()
	return w.form("token_endpoint", map[string]string{"grant_type": "refresh_token", "refresh_token": token, "client_id": clientID})
}

// with is alice with a token that the server has given out.
func (w *world) with(token string) *clienttest.User {
	u := w.Nobody()
	u.Token = token
	return u
}

// app lets the app in on a device, and gives the answer with the tokens, and the client's id.
func (w *world) app(device string) (reply, string) {
	w.t.Helper()
	id := w.client()
	return w.redeem(id, w.person().letIn(id, device)).ok(), id
}

// checkIDToken has the token checked by what clients check it with.
func (w *world) checkIDToken(token, clientID, nonce string) {
	w.t.Helper()
	provider, err := oidc.NewProvider(w.t.Context(), w.endpoint("issuer"))
	if err != nil {
		w.t.Fatal(err)
	}
	verified, err := provider.Verifier(&oidc.Config{ClientID: clientID, Now: w.Clock.Now}).Verify(w.t.Context(), token)
	if err != nil {
		w.t.Fatal(err)
	}
	if verified.Nonce != nonce || verified.Subject != "@alice:example.org" {
		w.t.Errorf("%+v", verified)
	}
}
