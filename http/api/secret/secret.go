// Package secret makes and recognizes the tokens that the server gives out. A token is opaque to clients, and only
// its SHA-256 is ever stored, so that nobody who reads the database can act as a user.
package secret

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
)

// Kind is what a token is for; it is the token's prefix, so that leaked ones are recognized.
type Kind string

// The kinds of tokens.
const (
	Access  Kind = "mxat"
	Refresh Kind = "mxrt"
	Login   Kind = "mxlt"
	OpenID  Kind = "mxoi"
	Session Kind = "mxus" // of user-interactive authentication
	Email   Kind = "mxem" // in a link that confirms an address
	Browser Kind = "mxbs" // in the cookie of a browser that is signed in to the server's pages
	Code    Kind = "mxac" // an authorization code
	Device  Kind = "mxdc" // a device code
)

const randomBytes = 30 // 240 bits: 40 characters without padding

// New makes a token of 240 random bits: prefix, random part and checksum, in characters that need no escaping.
func New(kind Kind) string {
	var b [randomBytes]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	body := string(kind) + "_" + base64.RawURLEncoding.EncodeToString(b[:])
	return body + "_" + checksum(body)
}

// Is reports whether the token can have been made by New for this kind: a mistyped or made-up one is told
// apart without a look into the store.
func Is(kind Kind, token string) bool {
	const checksumLen = 6
	body := len(kind) + 1 + 40
	return len(token) == body+1+checksumLen && strings.HasPrefix(token, string(kind)+"_") &&
		token[body] == '_' && token[body+1:] == checksum(token[:body])
}

func checksum(body string) string {
	var sum [4]byte
	binary.BigEndian.PutUint32(sum[:], crc32.ChecksumIEEE([]byte(body)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Hash is what is stored of a token.
func Hash(token string) []byte {
	h := sha256.Sum256([]byte(token))
	return h[:]
}
