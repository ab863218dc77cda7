//! Real peers for tests and benchmarks: databases, network namespaces, browsers.
