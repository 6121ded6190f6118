package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lakeload/lakeload/cdc"
	"github.com/lakeload/lakeload/internal/pgserver"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert: cert, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// sign gives a certificate for a name, an IP address too, and its key.
func (a *authority) sign(t *testing.T, name string, ends time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: ends, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses, template.DNSNames = []net.IP{ip}, nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// secured is a server that speaks TLS, and what leads to it.
type secured struct {
	t      *testing.T
	server *pgserver.Server
	dir    string
	right  *authority
}

func newSecured(t *testing.T) *secured {
	t.Helper()
	testServer(t) // leaves the test out where there is none
	s := &secured{t: t, dir: t.TempDir(), right: newAuthority(t, "right")}
	cert, key := s.right.sign(t, "127.0.0.1", time.Now().Add(time.Hour))
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var err error
	s.server, err = pgserver.Start(ctx, pgserver.Options{
		Version: testServer(t).Version(), Offline: true, Password: testPassword,
		Settings: map[string]string{"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key", "ssl_ca_file": "root.crt"},
		Files:    map[string][]byte{"server.crt": cert, "server.key": key, "root.crt": s.right.pem},
		HBA:      []string{"hostssl all by_cert 127.0.0.1/32 cert", "hostssl all by_both 127.0.0.1/32 scram-sha-256 clientcert=verify-full", "hostnossl all encrypted 127.0.0.1/32 reject"},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.server.Stop(context.Background())) })
	s.write("right.crt", s.right.pem)
	s.write("wrong.crt", newAuthority(t, "wrong").pem)
	for _, user := range []string{"by_cert", "by_both"} {
		cert, key := s.right.sign(t, user, time.Now().Add(time.Hour))
		s.write(user+".crt", cert)
		s.write(user+".key", key)
	}
	_, err = s.server.SQL(ctx, "CREATE ROLE by_cert LOGIN REPLICATION", "CREATE ROLE by_both LOGIN REPLICATION PASSWORD '"+testPassword+"'",
		"CREATE ROLE encrypted LOGIN REPLICATION PASSWORD '"+testPassword+"'", "CREATE TABLE a (id int PRIMARY KEY)")
	require.NoError(t, err)
	return s
}

func (s *secured) write(name string, data []byte) {
	s.t.Helper()
	require.NoError(s.t, os.WriteFile(filepath.Join(s.dir, name), data, 0o600))
}

// config leads to the server as a user, with more parameters by name and value.
func (s *secured) config(user, password string, more ...string) Config {
	q := url.Values{}
	for i := 0; i < len(more); i += 2 {
		value := more[i+1]
		if filepath.Ext(value) == ".crt" || filepath.Ext(value) == ".key" {
			value = filepath.Join(s.dir, value)
		}
		q.Set(more[i], value)
	}
	who := url.User(user)
	if password != "" {
		who = url.UserPassword(user, password)
	}
	u := url.URL{Scheme: "postgres", User: who, Host: fmt.Sprintf("127.0.0.1:%d", s.server.Port()), Path: "/postgres", RawQuery: q.Encode()}
	return Config{DSN: u.String(), Slot: "tls", Publication: "tls", All: true}
}

// serve gives the server another certificate.
func (s *secured) serve(a *authority, name string, ends time.Time) {
	s.t.Helper()
	cert, key := a.sign(s.t, name, ends)
	before, err := s.server.SQL(s.t.Context(), "SELECT pg_conf_load_time()")
	require.NoError(s.t, err)
	require.NoError(s.t, s.server.Reload(s.t.Context(), map[string][]byte{"server.crt": cert, "server.key": key}))
	require.Eventually(s.t, func() bool {
		after, err := s.server.SQL(s.t.Context(), "SELECT pg_conf_load_time()")
		return err == nil && after[0][0] != before[0][0]
	}, 20*time.Second, 10*time.Millisecond)
}

// open opens all kinds of connections, and tells whether they are encrypted.
func (s *secured) open(c Config) (encrypted bool, err error) {
	ctx := testContext(s.t)
	source, err := Open(ctx, c)
	if err != nil {
		return false, err
	}
	defer func() { require.NoError(s.t, source.Close()) }()
	for i, kind := range []connKind{connCatalog, connReader, connWalsender} {
		conn, err := source.connector.connect(ctx, kind)
		if err != nil {
			return false, err
		}
		rows, err := simple(ctx, conn, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
		closeConn(conn)
		if err != nil {
			return false, err
		}
		if i > 0 {
			require.Equal(s.t, encrypted, rows[0].bool(0), "all kinds of connections alike")
		}
		encrypted = rows[0].bool(0)
	}
	return encrypted, nil
}

// What each sslmode accepts, against certificates that are right and wrong.
// The classes tell the operator's business from what passes.
func TestEdge23EncryptionModes(t *testing.T) {
	s := newSecured(t)
	hour := time.Now().Add(time.Hour)
	for _, served := range []struct {
		name     string
		by       *authority
		host     string
		ends     time.Time
		accepted []string // of the modes that look at it, those that accept
	}{
		{"right", s.right, "127.0.0.1", hour, []string{"verify-ca", "verify-full"}},
		{"another host", s.right, "db.example", hour, []string{"verify-ca"}},
		{"expired", s.right, "127.0.0.1", time.Now().Add(-time.Hour), nil},
		{"another authority", newAuthority(t, "wrong"), "127.0.0.1", hour, nil},
	} {
		s.serve(served.by, served.host, served.ends)
		for _, mode := range []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"} {
			name := served.name + ", sslmode " + mode
			c := s.config(pgserver.Superuser, testPassword, "sslmode", mode)
			looks := mode == "verify-ca" || mode == "verify-full"
			if looks {
				c = s.config(pgserver.Superuser, testPassword, "sslmode", mode, "sslrootcert", "right.crt")
			}
			encrypted, err := s.open(c)
			accepts := !looks
			for _, m := range served.accepted {
				accepts = accepts || m == mode
			}
			if accepts {
				require.NoError(t, err, name)
				require.Equal(t, mode != "disable" && mode != "allow", encrypted, name)
				continue
			}
			require.Error(t, err, name)
			require.False(t, cdc.Retryable(err), "%s: %v", name, err)
			require.NotContains(t, err.Error(), testPassword)
			_, remedy := classify(err)
			require.Contains(t, remedy, "certificate", "%s: %v", name, err)
		}
	}
	// require with an authority is verify-ca, as with libpq.
	s.serve(s.right, "db.example", hour)
	_, err := s.open(s.config(pgserver.Superuser, testPassword, "sslmode", "require", "sslrootcert", "right.crt"))
	require.NoError(t, err)
	_, err = s.open(s.config(pgserver.Superuser, testPassword, "sslmode", "require", "sslrootcert", "wrong.crt"))
	require.Error(t, err)

	// Where the server wants encryption, plain text is refused, and no other way round.
	_, err = s.open(s.config("encrypted", testPassword, "sslmode", "disable"))
	require.Equal(t, codeNotAdmitted, sqlState(err))
	require.False(t, cdc.Retryable(err))
}

// Client certificates, alone and beside a password, and channel binding.
func TestEdge23ClientCertificates(t *testing.T) {
	s := newSecured(t)
	full := []string{"sslmode", "verify-full", "sslrootcert", "right.crt"}
	with := func(more ...string) []string { return append(append([]string{}, full...), more...) }
	encrypted, err := s.open(s.config("by_cert", "", with("sslcert", "by_cert.crt", "sslkey", "by_cert.key")...))
	require.NoError(t, err)
	require.True(t, encrypted)
	_, err = s.open(s.config("by_both", testPassword, with("sslcert", "by_both.crt", "sslkey", "by_both.key", "channel_binding", "require")...))
	require.NoError(t, err)

	for name, c := range map[string]Config{
		"no certificate":        s.config("by_cert", "", full...),
		"another's certificate": s.config("by_cert", "", with("sslcert", "by_both.crt", "sslkey", "by_both.key")...),
		"no password":           s.config("by_both", "", with("sslcert", "by_both.crt", "sslkey", "by_both.key")...),
		"bound to no channel":   s.config(pgserver.Superuser, testPassword, "sslmode", "disable", "channel_binding", "require"),
	} {
		_, err := s.open(c)
		require.Error(t, err, name)
		require.False(t, cdc.Retryable(err), "%s: %v", name, err)
		var e *cdc.Error
		require.ErrorAs(t, err, &e)
		require.NotEmpty(t, e.Remedy, "%s: %v", name, err)
	}

	// A renewed certificate is read at the next connection; one that is not
	// there is no reason to go on with the old one.
	c := s.config("by_cert", "", with("sslcert", "by_cert.crt", "sslkey", "by_cert.key")...)
	source, err := Open(testContext(t), c)
	require.NoError(t, err)
	defer func() { require.NoError(t, source.Close()) }()
	cert, key := newAuthority(t, "wrong").sign(t, "by_cert", time.Now().Add(time.Hour))
	s.write("by_cert.crt", cert)
	s.write("by_cert.key", key)
	_, err = source.Identify(testContext(t))
	require.Equal(t, codeNotAdmitted, sqlState(err))
	require.True(t, cdc.Retryable(err), "it has worked before: %v", err)
	cert, key = s.right.sign(t, "by_cert", time.Now().Add(time.Hour))
	s.write("by_cert.crt", cert)
	s.write("by_cert.key", key)
	_, err = source.Identify(testContext(t))
	require.NoError(t, err)
}
