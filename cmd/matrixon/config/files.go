package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
)

// CheckFiles reads the files that the configuration names, as a server would that starts with it. The error is of
// type Problems.
func (c *Config) CheckFiles() error {
	var problems Problems
	check := func(key string, err error) {
		if err != nil {
			problems = append(problems, Problem{Key: key, Message: err.Error()})
		}
	}
	for i, l := range c.Listeners {
		if l.TLS != (TLSPair{}) {
			check(fmt.Sprintf("listeners.%d.tls", i), checkPair(l.TLS))
		}
	}
	if c.Federation.CAFile != "" {
		check("federation.ca_file", checkCertificates(c.Federation.CAFile))
	}
	if c.Email.CAFile != "" {
		check("email.ca_file", checkCertificates(c.Email.CAFile))
	}
	if c.Push.CAFile != "" {
		check("push.ca_file", checkCertificates(c.Push.CAFile))
	}
	if _, err := c.Registrations(); err != nil {
		var wrong Problems
		errors.As(err, &wrong)
		problems = append(problems, wrong...)
	}
	if t := c.Cluster.TLS; t != (ClusterTLS{}) {
		check("cluster.tls.ca", checkCertificates(t.CA))
		check("cluster.tls", checkPair(TLSPair{Certificate: t.Certificate, Key: t.Key}))
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

func checkPair(pair TLSPair) error {
	_, err := tls.LoadX509KeyPair(pair.Certificate, pair.Key)
	return err
}

func checkCertificates(path string) error {
	pem, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return errors.New(path + " has no PEM certificate in it")
	}
	return nil
}
