package store

import (
	"net/http"
	"net/url"
	"strings"
)

// uploaded gives the name of the object that a request makes or replaces; false, where it does neither: parts of an object are none.
func uploaded(kind Kind, r *http.Request) (string, bool) {
	q := r.URL.Query()
	switch kind {
	case KindS3:
		// what is said about an object (its retention, its tags) comes as a PUT with a word in the query
		plain := r.Method == http.MethodPut && (r.URL.RawQuery == "" || q.Get("x-id") == "PutObject")
		return below(r.URL, 1), below(r.URL, 1) != "" && (plain || r.Method == http.MethodPost && q.Has("uploadId"))
	case KindAzure:
		plain := r.Method == http.MethodPut && !q.Has("restype") && (!q.Has("comp") || q.Get("comp") == "blocklist")
		return below(r.URL, 2), plain && below(r.URL, 2) != ""
	case KindGoogle:
		// of what is sent in parts, the last knows how long the whole is
		whole := !strings.HasSuffix(r.Header.Get("Content-Range"), "/*")
		if q.Get("uploadType") == "resumable" && !q.Has("upload_id") {
			whole = false
		}
		return q.Get("name"), whole && IsUpload(r) && strings.HasPrefix(r.URL.Path, "/upload/") && q.Has("name")
	}
	return "", false
}

// below is the path without its first n parts.
func below(u *url.URL, n int) string {
	parts := strings.SplitN(strings.TrimPrefix(u.Path, "/"), "/", n+1)
	if len(parts) <= n {
		return ""
	}
	return parts[n]
}
