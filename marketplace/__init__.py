"""A simulated shop: a catalog, searchers with tastes, a lexical engine, and the log of what they do.

Everything it writes is simulated, and every figure computed from it has to be called simulated.

What it simulates
  - A catalog in a category tree with brands, shops, attributes, prices and titles; or any given catalog.
  - Needs under a Zipf law with a long tail, each met by at least one item, and their wordings: as titles say it,
    by synonyms that no title holds, by words that mean several categories ("apple"), and misspelled.
  - Searchers with lasting tastes (brands, style, colors and the like, price level, categories) that follow
    partly from their profile, and sessions with a focus of their own. One query of two people may mean two leaf
    categories, and two items within one.
  - Result pages as shops build them. Two thirds of the slots come from an imperfect lexical engine: BM25 over title
    and brand with a popularity prior and noise per request; its best matches are ranked by what the shop guesses
    of the user's taste (the true one plus much noise, which no model is given). The other slots show new
    arrivals, recommendations and chance items of the category that the engine's best matches belong to. If
    clicks came from the engine's own order alone, that engine would have perfect recall of clicks by construction.
  - Reading from the top with a chance to stop at each slot; impressions are logged of slots that were looked at.
    Searchers whose page disappoints may walk the category tree and take something there; some follow a "similar
    items" row, some come back to what they clicked on an earlier day. Such clicks carry the search's request_id
    and have no position.
  - Carts and orders, noise clicks, new items every day, users who join late, growing traffic; a log that is
    delivered at least once, late and out of order, and ends at its last midnight.

What it does not simulate
  - Feedback: the engine does not learn, popularity does not move, users do not tire of an item or buy it once.
  - Stock, price changes, seasons, fashions, advertising, fraud, robots, one person with several devices.
  - Any text but titles and queries: no reviews, no descriptions, no pictures; grammar is that of short queries.
  - The strength of real tastes. A model's gain here says that it can use the signals that were put in (see
    `config` for how they were set), not how large they are in a real shop.
"""
