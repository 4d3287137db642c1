namespace Vcmm.Vtd;

/// <summary>The way in which the hardware is told to forget: its queue, or its registers.</summary>
internal interface IInvalidations
{
    /// <summary>The most commands that <see cref="Submit"/> takes at once.</summary>
    int Capacity { get; }

    /// <summary>Takes the interface into use, whatever it was used for before.</summary>
    /// <returns>False if the hardware does not answer.</returns>
    bool TryStart();

    /// <summary>Invalidates everything, through an interface that was just started.</summary>
    /// <returns>False if the hardware does not answer.</returns>
    bool TryForgetEverything();

    /// <summary>Gives the commands to the hardware and waits until they are complete.</summary>
    /// <param name="commands">At most <see cref="Capacity"/>.</param>
    /// <param name="drainsPageRequests">Whether to wait for page requests on their way to their queue as well.</param>
    /// <param name="isLostByRestart">
    /// Whether there is a command among them that a new start does not make good: it invalidates everything, and does nothing else.
    /// </param>
    /// <returns><see cref="VcmmError.HardwareFailure"/> if that is not known to have happened.</returns>
    VcmmError Submit(ReadOnlySpan<InvalidationDescriptor> commands, bool drainsPageRequests = false, bool isLostByRestart = false);

    /// <summary>From here on what is waited for interrupts when it is complete, or does no more.</summary>
    void TellWhenDone(bool interrupts);

    /// <summary>It has interrupted: the next completion does so again, and whoever waits may look.</summary>
    /// <returns>False if it has not.</returns>
    bool TryAcknowledgeCompletion();

    /// <summary>Clears an error that stops the hardware, if there is one, and invalidates everything.</summary>
    /// <returns>False if it does not go on.</returns>
    bool TryClearErrors();
}
