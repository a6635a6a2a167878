package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/deploy/local"
	"github.com/matrixon/matrixon/http/outbound"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/roomversion"
	"github.com/matrixon/matrixon/matrix/signing"
)

const loopback = "127.0.0.1"

// federated gives the settings of a server that others can reach, with a certificate in the folder which it trusts itself.
func federated(folder string) (name string, set []string, err error) {
	port, err := local.FreePort()
	if err != nil {
		return "", nil, err
	}
	certificate, key, err := certify(folder)
	if err != nil {
		return "", nil, err
	}
	name = net.JoinHostPort(loopback, strconv.Itoa(port))
	return name, []string{"server_name=" + name, "federation.ca_file=" + certificate, "federation.allow_networks=[127.0.0.0/8]",
		fmt.Sprintf("listeners=[{address: '127.0.0.1:0', serves: [client, metrics]}, {address: '%s', serves: [federation], tls: {certificate: '%s', key: '%s'}}]",
			name, certificate, key)}, nil
}

// certify writes a certificate that is its own authority.
func certify(folder string) (certificate, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "load"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.ParseIP(loopback)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	certificate, key = filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key")
	if err := os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		return "", "", err
	}
	return certificate, key, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
}

// peer is another homeserver that sends to the measured one.
type peer struct {
	name   string
	key    signing.Key
	to     string // the measured server's name
	caller *outbound.Federation
	http   *http.Server
}

// newPeer starts a homeserver that publishes its key and nothing else, with the certificate in the folder.
func newPeer(folder, to string) (*peer, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	authority, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, err
	}
	roots.AddCert(authority)
	ln, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, err
	}
	seed := make([]byte, 32)
	if _, err := rand.Read(seed); err != nil {
		return nil, err
	}
	p := &peer{name: ln.Addr().String(), key: signing.NewKey("load", seed), to: to}
	p.caller = outbound.NewFederation(outbound.FederationOptions{ServerName: p.name, Key: p.key, Now: time.Now,
		Policy: outbound.Policy{AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Roots: roots, UserAgent: "matrixon-load"}})
	published, err := json.Marshal(map[string]any{"server_name": p.name, "valid_until_ts": time.Now().Add(time.Hour).UnixMilli(),
		"verify_keys": map[string]any{p.key.ID: map[string]string{"key": signing.EncodeBase64(p.key.Public())}}, "old_verify_keys": map[string]any{}})
	if err == nil {
		published, err = signing.SignJSON(published, p.name, p.key)
	}
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_matrix/key/v2/server", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(published) })
	mux.HandleFunc("PUT /_matrix/federation/v1/send/{txn}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"pdus":{}}`)) })
	p.http = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}}
	go func() { _ = p.http.ServeTLS(ln, "", "") }()
	return p, nil
}

func (p *peer) close() {
	p.caller.Close()
	_ = p.http.Close()
}

func (p *peer) ask(ctx context.Context, method, path string, body []byte) (gjson.Result, error) {
	answer, err := p.caller.Call(ctx, federation.Request{Destination: p.to, Method: method, URI: "/_matrix/federation" + path, Body: body, Timeout: time.Minute})
	return gjson.ParseBytes(answer), err
}

// speaker is a user of the peer in a room of the measured server.
type speaker struct {
	peer    *peer
	version *roomversion.Version
	roomID  string
	userID  string
	auth    []string // the ids of the events that let the user speak
	last    *event.Event
}

// join joins a user of the peer by the handshake.
func (p *peer) join(ctx context.Context, roomID, userID string) (*speaker, error) {
	room := url.PathEscape(roomID)
	query := ""
	for i, v := range roomversion.All() {
		query += string("?&"[min(i, 1)]) + "ver=" + v.ID
	}
	made, err := p.ask(ctx, http.MethodGet, "/v1/make_join/"+room+"/"+url.PathEscape(userID)+query, nil)
	if err != nil {
		return nil, err
	}
	version, ok := roomversion.Get(made.Get("room_version").Str)
	if !ok {
		return nil, fmt.Errorf("the room has version %s", made.Get("room_version"))
	}
	template := made.Get("event")
	join, err := event.Build(event.Proto{Type: "m.room.member", StateKey: &userID, Sender: userID, RoomID: roomID, Content: []byte(template.Get("content").Raw),
		PrevEvents: strs(template.Get("prev_events")), AuthEvents: strs(template.Get("auth_events")), Depth: template.Get("depth").Int(),
		OriginServerTS: time.Now().UnixMilli()}, version, p.name, p.key)
	if err != nil {
		return nil, err
	}
	sent, err := p.ask(ctx, http.MethodPut, "/v2/send_join/"+room+"/"+url.PathEscape(join.ID()), join.JSON())
	if err != nil {
		return nil, err
	}
	s := &speaker{peer: p, version: version, roomID: roomID, userID: userID, auth: []string{join.ID()}, last: join}
	for _, raw := range sent.Get("state").Array() {
		e, err := event.Parse([]byte(raw.Raw), version)
		if err != nil {
			return nil, err
		}
		if e.Type() == "m.room.power_levels" || e.Type() == "m.room.create" && !version.RoomIDFromCreate {
			s.auth = append(s.auth, e.ID())
		}
	}
	return s, nil
}

func strs(list gjson.Result) []string {
	var all []string
	for _, s := range list.Array() {
		all = append(all, s.Str)
	}
	return all
}

// say makes the next message of the user, after the one before.
func (s *speaker) say(content []byte) (*event.Event, error) {
	e, err := event.Build(event.Proto{Type: "m.room.message", Sender: s.userID, RoomID: s.roomID, Content: content, PrevEvents: []string{s.last.ID()},
		AuthEvents: s.auth, Depth: s.last.Depth() + 1, OriginServerTS: time.Now().UnixMilli()}, s.version, s.peer.name, s.peer.key)
	if err == nil {
		s.last = e
	}
	return e, err
}
