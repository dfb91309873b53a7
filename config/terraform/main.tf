# A distribution in front of app.example.com, made at the edge of config/managed.toml. The keys are in AWS_ACCESS_KEY_ID and
# AWS_SECRET_ACCESS_KEY; without the endpoint, the rest of this file makes the same distribution at CloudFront.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  region                      = "us-east-1"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
  endpoints { cloudfront = "http://127.0.0.1:9080" }
}

resource "aws_cloudfront_cache_policy" "pages" {
  name        = "pages"
  min_ttl     = 1
  default_ttl = 300
  max_ttl     = 3600
  parameters_in_cache_key_and_forwarded_to_origin {
    enable_accept_encoding_gzip = true
    cookies_config { cookie_behavior = "none" }
    headers_config { header_behavior = "none" }
    query_strings_config { query_string_behavior = "all" }
  }
}

resource "aws_cloudfront_distribution" "shop" {
  enabled             = true
  comment             = "the shop"
  aliases             = ["shop.example.com"]
  default_root_object = "index.html"
  wait_for_deployment = false # the edge serves it before it answers

  origin {
    origin_id   = "app"
    domain_name = "app.example.com"
    custom_origin_config {
      http_port              = 80
      https_port             = 443
      origin_protocol_policy = "http-only"
      origin_ssl_protocols   = ["TLSv1.2"]
    }
  }

  default_cache_behavior {
    target_origin_id       = "app"
    viewer_protocol_policy = "redirect-to-https"
    allowed_methods        = ["GET", "HEAD"]
    cached_methods         = ["GET", "HEAD"]
    cache_policy_id        = aws_cloudfront_cache_policy.pages.id
    compress               = true
  }

  restrictions {
    geo_restriction { restriction_type = "none" }
  }

  viewer_certificate {
    acm_certificate_arn      = "arn:aws:acm:us-east-1:000000000177:certificate/shop"
    ssl_support_method       = "sni-only"
    minimum_protocol_version = "TLSv1.2_2021"
  }

  tags = { team = "shop" }
}

output "id" {
  value = aws_cloudfront_distribution.shop.id
}
