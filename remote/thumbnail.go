package remote

import "net/http"

// setThumbnail asks for an entity's thumbnail: an image of at most 170x170
// pixels where the entity is an image, as the service's documents have it.
func setThumbnail(req *http.Request) { req.Header.Set("thumbnail", "true") }
