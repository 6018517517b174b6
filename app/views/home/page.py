"""Home: what is MixNN Lab about?"""

import streamlit as st

from app.components import player
from app.server import player_routes

st.header("MixNN Lab", anchor=False)
player.show_file(player_routes.shipped(), key="shipped", autoplay=True)
