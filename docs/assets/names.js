// What the theme leaves without a name for those who can't see it.
document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
