package oauth

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/persistence/schema"
)

// keyID names the key of id tokens.
const keyID = "1"

// signer makes the key of id tokens, and what others check them with.
func (s *Server) signer() (jose.Signer, jose.JSONWebKeySet, error) {
	key, err := s.o.Box.SigningKey("oauth id token")
	if err != nil {
		return nil, jose.JSONWebKeySet{}, err
	}
	public := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public().(ed25519.PublicKey), KeyID: keyID, Algorithm: string(jose.EdDSA), Use: "sig"}}} //nolint:forcetypeassert // Public says so
	signing := jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: key, KeyID: keyID}}
	signer, err := jose.NewSigner(signing, (&jose.SignerOptions{}).WithType("JWT"))
	return signer, public, err
}

// keys are those with which id tokens are checked.
func (s *Server) keys(*api.Request) (any, error) {
	_, public, err := s.signer()
	return public, err
}

// idToken says who has let the client in (OpenID Connect Core 1.0, section 2); empty when nobody asked for it.
func (s *Server) idToken(g schema.OAuthGrant, now time.Time) (string, error) {
	if !slices.Contains(strings.Fields(g.Scope), openID) {
		return "", nil
	}
	signer, _, err := s.signer()
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		Nonce    string `json:"nonce,omitzero"`
	}{s.o.Pages.URL("/"), g.UserID, g.ClientID, now.Unix(), now.Add(s.o.AccessLifetime).Unix(), g.Nonce})
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(claims)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
