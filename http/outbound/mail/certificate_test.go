package mail_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http/httptest"
	"testing"
)

// certificate is one for 127.0.0.1, and who signed it.
func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return s.TLS.Certificates[0], roots
}
