package sso_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"math/big"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/matrixon/matrixon/http/client/clienttest"
	"github.com/matrixon/matrixon/http/sso"
)

type j = map[string]any

// provider is an identity provider of OpenID Connect with one user, who always says yes.
type provider struct {
	t      *testing.T
	server *httptest.Server
	key    *rsa.PrivateKey

	mu     sync.Mutex
	claims j            // of its user
	info   j            // what only its userinfo tells; nil: it has none
	asked  url.Values   // the last request of a browser
	codes  map[string]j // the claims of the id token for each code
	proofs map[string]string
	forge  func(j) // changes an id token
}

var keyOnce = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{t: t, key: keyOnce(), codes: map[string]j{}, proofs: map[string]string{}, claims: j{"sub": "1", "preferred_username": "Carol", "name": "Carol C.", "email": "carol@example.com", "email_verified": true}}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		u := p.server.URL
		meta := j{"issuer": u, "authorization_endpoint": u + "/auth", "token_endpoint": u + "/token", "jwks_uri": u + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"}, "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}}
		p.mu.Lock()
		if p.info != nil {
			meta["userinfo_endpoint"] = u + "/info"
		}
		p.mu.Unlock()
		p.answer(w, meta)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		e := big.NewInt(int64(p.key.E)).Bytes()
		p.answer(w, j{"keys": []j{{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "k", "n": b64(p.key.N.Bytes()), "e": b64(e)}}})
	})
	mux.HandleFunc("/info", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.answer(w, p.info)
	})
	mux.HandleFunc("/auth", p.authorize)
	mux.HandleFunc("/token", p.token)
	p.server = httptest.NewServer(mux)
	t.Cleanup(p.server.Close)
	return p
}

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func (p *provider) answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		p.t.Error(err)
	}
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	p.asked = q
	code := rand.Text()
	claims := j{"nonce": q.Get("nonce")}
	for name, v := range p.claims {
		claims[name] = v
	}
	p.codes[code], p.proofs[code] = claims, q.Get("code_challenge")
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		p.t.Error(err)
	}
	back.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, key, _ := r.BasicAuth()
	claims, ok := p.codes[r.FormValue("code")]
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if !ok || id != "matrix" || key != "key" || p.proofs[r.FormValue("code")] != b64(sum[:]) {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	delete(p.codes, r.FormValue("code"))
	p.answer(w, j{"access_token": "a", "token_type": "Bearer", "id_token": p.sign(claims)})
}

// sign makes a token of the provider.
func (p *provider) sign(claims j) string {
	full := j{"iss": p.server.URL, "aud": "matrix", "iat": 1767323045, "exp": 4102444800}
	for name, v := range claims {
		full[name] = v
	}
	if p.forge != nil {
		p.forge(full)
	}
	head, _ := json.Marshal(j{"alg": "RS256", "kid": "k"})
	body, _ := json.Marshal(full)
	text := b64(head) + "." + b64(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, sum[:])
	if err != nil {
		p.t.Error(err)
	}
	return text + "." + b64(signature)
}

// set changes the provider.
func (p *provider) set(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// configured is the provider as the server knows it.
func (p *provider) configured() sso.Provider {
	return sso.Provider{ID: "idp", Name: "Example ID", Issuer: p.server.URL, ClientID: "matrix", Secret: "key", Scopes: []string{"profile", "email"},
		Claims: sso.Claims{Localpart: "preferred_username", DisplayName: "name", Email: "email"}}
}

// browser is somebody's.
type browser struct {
	t      *testing.T
	w      *clienttest.World
	client *http.Client
}

func newBrowser(w *clienttest.World) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		w.T.Fatal(err)
	}
	return &browser{w.T, w, &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.Host, "127.0.0.1") {
			return http.ErrUseLastResponse
		}
		return nil
	}}}
}

type page struct {
	status int
	body   string
	header http.Header
	at     *url.URL // where it was found, or leads when that is an app
}

func (b *browser) do(method, to string, form url.Values) page {
	b.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = b.w.URL() + to
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, to, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("Accept", "text/html")
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	p := page{resp.StatusCode, string(raw), resp.Header, resp.Request.URL}
	if location, err := resp.Location(); err == nil {
		p.at = location
	}
	return p
}

func (b *browser) get(to string) page { b.t.Helper(); return b.do(http.MethodGet, to, nil) }

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)">`)

var toProvider = regexp.MustCompile(`href="(/_matrixon/client/with/[^"]*)"`)

// toProvider is where a page's button for the provider leads.
func (p page) toProvider(t *testing.T) string {
	t.Helper()
	m := toProvider.FindStringSubmatch(p.body)
	if m == nil {
		t.Fatalf("nothing leads to the provider: %s", p.body)
	}
	return html.UnescapeString(m[1])
}

// submit sends the form of a page, with more fields.
func (b *browser) submit(to string, p page, more ...string) page {
	b.t.Helper()
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(p.body, -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return b.do(http.MethodPost, to, form)
}

const begin = "/_matrix/client/v3/login/sso/redirect/idp?redirectUrl=https://trusted.example/"

// login is the app that has got the browser back.
func login(w *clienttest.World, p page) *clienttest.User {
	w.T.Helper()
	token := p.at.Query().Get("loginToken")
	if p.at.Host != "trusted.example" || token == "" {
		w.T.Fatalf("not back at the app: %d %s %s", p.status, p.at, p.body)
	}
	got := w.Nobody().Post("/login", clienttest.J{"type": "m.login.token", "token": token}).OK()
	u := w.Nobody()
	u.ID, u.Device, u.Token = got.Text("user_id"), got.Text("device_id"), got.Text("access_token")
	return u
}
