package client_test

import (
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/http/client"
	"github.com/matrixon/matrixon/http/client/clienttest"
)

func TestTURNServer(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	// echo -n 1767326645:@alice:example.org | openssl dgst -sha1 -hmac north -binary | base64
	w.Register("alice").Get("/voip/turnServer").OK().Has("username", `"1767326645:@alice:example.org"`).
		Has("password", `"y3IlJa0UDpgiMIisY3Z00fxeK04="`).Has("uris", `["turn:turn.example.org?transport=udp"]`).Has("ttl", "3600")
	w.Nobody().Get("/voip/turnServer").Refused(401, "M_MISSING_TOKEN")
}

func TestNoTURNServer(t *testing.T) {
	t.Parallel()
	w := clienttest.New(t)
	a := api.New(api.Options{Auth: w.Tokens, Log: slog.New(slog.DiscardHandler), Now: w.Clock.Now})
	a.Add(api.Client, client.Calls(client.Deps{Now: w.Clock.Now}, client.TURN{})...)
	r := httptest.NewRequest("GET", "/_matrix/client/v3/voip/turnServer", nil)
	r.Header.Set("Authorization", "Bearer "+w.Register("alice").Token)
	answer := httptest.NewRecorder()
	if a.Handler(api.Client).ServeHTTP(answer, r); answer.Code != 404 {
		t.Errorf("%d %s", answer.Code, answer.Body)
	}
}
