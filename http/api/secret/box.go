package secret

import (
	"crypto/cipher"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"golang.org/x/crypto/chacha20poly1305"
)

// Box seals what strangers carry for the server, such as the state of a sign-in that has only begun: nobody can read, change or make
// it, and the server has nothing to store. All nodes have the same box. That something comes back sealed says that it was
// given out, not that it comes back for the first time, or soon: what is sealed must say until when it is good.
type Box struct {
	aead   cipher.AEAD
	secret []byte
}

// NewBox makes a box from a secret that all nodes know, of at least 32 bytes.
func NewBox(secret []byte) (*Box, error) {
	if len(secret) < 32 {
		return nil, fmt.Errorf("secret: a box needs 32 bytes, not %d", len(secret))
	}
	key, err := hkdf.Key(sha256.New, secret, nil, "matrixon: sealed box", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	return &Box{aead, slices.Clone(secret)}, err
}

// SigningKey is a key with which all nodes sign for a purpose. It follows from the secret of the box, and tells nothing of it.
func (b *Box) SigningKey(purpose string) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, b.secret, nil, "matrixon: signing key: "+purpose, ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// Seal gives v, as JSON, for a purpose; in characters that need no escaping. Two seals of the same differ.
func (b *Box) Seal(purpose string, v any) (string, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	nonce := make([]byte, chacha20poly1305.NonceSizeX, chacha20poly1305.NonceSizeX+len(plain)+chacha20poly1305.Overhead)
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(b.aead.Seal(nonce, nonce, plain, []byte(purpose))), nil
}

// Open reads what was sealed for the same purpose into v, and reports whether it was.
func (b *Box) Open(purpose, sealed string, v any) bool {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(raw) < chacha20poly1305.NonceSizeX {
		return false
	}
	plain, err := b.aead.Open(nil, raw[:chacha20poly1305.NonceSizeX], raw[chacha20poly1305.NonceSizeX:], []byte(purpose))
	return err == nil && json.Unmarshal(plain, v) == nil
}
