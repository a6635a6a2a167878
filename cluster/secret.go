package cluster

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"os"
	"time"
)

// peerName is the name in every node's certificate: nodes are told apart by their names, not by keys.
const peerName = "node.matrixon.invalid"

// SecretTLS makes mutual TLS of a shared secret: the secret gives every node the same certificate authority, which signs a
// key that the node makes for itself. Whoever does not know the secret can neither connect nor answer.
func SecretTLS(secret string) (*tls.Config, error) {
	seed, err := hkdf.Key(sha256.New, []byte(secret), nil, "matrixon cluster authority", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	authorityKey := ed25519.NewKeyFromSeed(seed)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "matrixon cluster"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return nil, fmt.Errorf("cluster authority: %w", err)
	}
	if authority, err = x509.ParseCertificate(raw); err != nil {
		return nil, fmt.Errorf("cluster authority: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(authority)
	public, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: peerName}, DNSNames: []string{peerName},
		NotBefore: authority.NotBefore, NotAfter: authority.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if raw, err = x509.CreateCertificate(rand.Reader, leaf, authority, public, authorityKey); err != nil {
		return nil, fmt.Errorf("node certificate: %w", err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, ServerName: peerName, MinVersion: tls.VersionTLS13,
	}, nil
}

// FileTLS makes mutual TLS of PEM files: the authority that signs the certificates of all nodes, and this node's own. What
// name a certificate has does not matter, only who signed it.
func FileTLS(ca, certificate, key string) (*tls.Config, error) {
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no PEM certificate in it", ca)
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	signed := func(state tls.ConnectionState) error {
		others := x509.NewCertPool()
		for _, c := range state.PeerCertificates[1:] {
			others.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: pool, Intermediates: others, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		return err
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAnyClientCert, ServerName: peerName,
		InsecureSkipVerify: true, VerifyConnection: signed, MinVersion: tls.VersionTLS13, //nolint:gosec // VerifyConnection verifies, but for the name
	}, nil
}
