fn main() {
    let mut files = Vec::new();
    let only = std::env::args().nth(2).is_some();
    for name in ["provider", "reports"] {
        if only && name == "reports" { continue }
        let text = std::fs::read_to_string(format!("/work/main/feeds/shadowserver/{name}.toml")).unwrap();
        files.push(feed::catalog::File { path: format!("shadowserver/{name}.toml"), text });
    }
    let doc = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    let update = feed::vendor_schema::read(&doc, "shadowserver", &files).unwrap();
    println!("{}", update.text);
    eprintln!("{} new {} ext {:?} refused {:?}", update.all, update.new.len(), update.extended, update.refused);
}
