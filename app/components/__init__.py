"""Parts that several pages share: page head, run picker, epoch slider, figures, images."""
