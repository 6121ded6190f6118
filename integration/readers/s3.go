package readers

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// S3 says how to reach an S3 store.
type S3 struct {
	Endpoint  string // with http:// or https://
	AccessKey string
	SecretKey string
	Region    string
}

// UseS3 makes a reader read s3:// paths from a store, until its process ends. Spark cannot: it would need a client library of 700 MB, which
// the tests leave out.
func (r *Reader) UseS3(ctx context.Context, s S3) error {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return fmt.Errorf("use the S3 store %s: %w", s.Endpoint, err)
	}
	switch r.kind {
	case DuckDB:
		q := func(v string) string { return "'" + strings.ReplaceAll(v, "'", "''") + "'" }
		return r.Exec(ctx, fmt.Sprintf("create or replace secret lakeload (type s3, key_id %s, secret %s, region %s, endpoint %s, use_ssl %t, url_style 'path')",
			q(s.AccessKey), q(s.SecretKey), q(s.Region), q(u.Host), u.Scheme == "https"))
	case DeltaRS, Polars:
		return r.Storage(ctx, map[string]string{
			"AWS_ENDPOINT_URL": s.Endpoint, "AWS_ACCESS_KEY_ID": s.AccessKey, "AWS_SECRET_ACCESS_KEY": s.SecretKey,
			"AWS_REGION": s.Region, "AWS_ALLOW_HTTP": fmt.Sprint(u.Scheme == "http"),
		})
	default:
		return fmt.Errorf("the reader %s is not made to read from S3", r.kind)
	}
}
